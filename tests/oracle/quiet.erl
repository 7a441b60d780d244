%% What our Erlang programs share: how they wait until nothing can run any more.
-module(quiet).
-export([settle/0]).

%% Nothing but the calling process can run, and no other code is being loaded: there is one scheduler, so this is exact.
%% What the calling process is sent meanwhile is thrown away.
settle() ->
    erlang:yield(),
    case statistics(total_active_tasks_all) of
        1 -> receive _ -> settle() after 0 -> ok end;
        _ -> settle()
    end.
