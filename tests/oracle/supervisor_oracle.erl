%% Runs scripted scenarios on stdlib's supervisor and prints what happened, for comparison with ours.
%%
%% The script has one command a line; its language is described in scenario.py. For each command one line is printed:
%% the command, the starts and stops that followed, in order, the processes that ended, sorted, and the children.
-module(supervisor_oracle).
-export([main/1, init/1, start_child/2, child/3]).

main([File]) ->
    {ok, Text} = file:read_file(File),
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    ets:new(oracle, [named_table, public, ordered_set]),
    Lines = [string:lexemes(Line, " ") || Line <- string:lexemes(binary_to_list(Text), "\n")],
    run(Lines, none, {[], []}),
    halt(0).

run([], Sup, _) ->
    clean(Sup);
run([["scenario", Name] | Rest], Sup, _) ->
    clean(Sup),
    ets:delete_all_objects(oracle),
    io:format("scenario ~s~n", [Name]),
    run(Rest, none, {[], []});
run([["flags", Strategy, Intensity, Auto] | Rest], Sup, {_, Specs}) ->
    ets:insert(oracle, {simple, Strategy =:= "simple_one_for_one"}),
    Flags = #{strategy => list_to_atom(Strategy), intensity => list_to_integer(Intensity), period => 3600,
              auto_shutdown => list_to_atom(Auto)},
    run(Rest, Sup, {Flags, Specs});
run([["child" | Fields] | Rest], Sup, {Flags, Specs}) ->
    run(Rest, Sup, {Flags, Specs ++ [spec(Fields)]});
run([["boot"] | Rest], none, Setup) ->
    Answer = supervisor:start_link(?MODULE, Setup),
    Sup = case Answer of {ok, Pid} -> Pid; _ -> none end,
    report("boot", Sup, case Answer of {ok, _} -> "ok"; {error, Why} -> reason(Why) end),
    run(Rest, Sup, Setup);
run([Command | Rest], Sup, Setup) ->
    Answer = do(Command, Sup),
    report(lists:join(" ", Command), Sup, Answer),
    run(Rest, Sup, Setup).

%% End the supervisor of a scenario, and take its exit signal, unless that has been taken.
clean(none) -> ok;
clean(Sup) ->
    Monitor = monitor(process, Sup),
    exit(Sup, kill),
    receive
        {'DOWN', Monitor, process, Sup, noproc} -> receive {'EXIT', Sup, _} -> ok after 0 -> ok end;
        {'DOWN', Monitor, process, Sup, _} -> receive {'EXIT', Sup, _} -> ok end
    end.

do(["fail", Id, Count], _) -> ets:insert(oracle, {{plan, Id}, {fail, list_to_integer(Count)}}), "ok";
do(["decline", Id, Count], _) -> ets:insert(oracle, {{plan, Id}, {decline, list_to_integer(Count)}}), "ok";
do(["crash", Id, Reason], _) ->
    [{_, Pid, _}] = ets:lookup(oracle, {pid, Id}),
    Monitor = monitor(process, Pid),
    case Reason of
        "kill" -> exit(Pid, kill);
        _ -> Pid ! {exit_with, list_to_atom(Reason)}
    end,
    receive {'DOWN', Monitor, process, Pid, _} -> "ok" end;
do(["grow"], Sup) -> answer(catch supervisor:start_child(Sup, []));
do(["finish", Name], Sup) ->
    [{_, Pid, _}] = ets:lookup(oracle, {pid, Name}),
    answer(catch supervisor:terminate_child(Sup, Pid));
do(["terminate", Id], Sup) -> answer(catch supervisor:terminate_child(Sup, Id));
do(["restart", Id], Sup) -> answer(catch supervisor:restart_child(Sup, Id));
do(["delete", Id], Sup) -> answer(catch supervisor:delete_child(Sup, Id));
do(["start" | Fields], Sup) -> answer(catch supervisor:start_child(Sup, spec(Fields)));
do(["count"], Sup) ->
    Counts = supervisor:count_children(Sup),
    lists:join(" ", [integer_to_list(proplists:get_value(Key, Counts)) || Key <- [specs, active, supervisors, workers]]);
do(["stop"], Sup) ->
    Monitor = monitor(process, Sup),
    exit(Sup, shutdown),
    receive {'DOWN', Monitor, process, Sup, _} -> "ok" end;
do(["stray"], Sup) ->
    {Pid, Monitor} = spawn_monitor(fun() -> link(Sup), exit(stray) end),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    "ok".

answer(ok) -> "ok";
answer({ok, undefined}) -> "ok undefined";
answer({ok, Pid}) when is_pid(Pid) -> "ok " ++ shown(Pid);
answer({error, {already_started, Pid}}) -> "already_started " ++ shown(Pid);
answer({error, {Reason, Child}}) when is_tuple(Child) -> "start failed " ++ reason(Reason);
answer({error, Reason}) when Reason =:= running; Reason =:= restarting; Reason =:= not_found; Reason =:= already_present ->
    atom_to_list(Reason);
answer({error, Reason}) -> "start failed " ++ reason(Reason);
answer({'EXIT', {noproc, _}}) -> "noproc".

%% What happened since the last report, once things are quiet: nothing new in three rounds, in each of which the
%% supervisor, and so each of its retries, had its turn.
report(Command, Sup, Answer) ->
    settle(Sup, 0, 0),
    Events = sorted([Text || {_, Text} <- lists:sort([{Key, Text} || {{event, Key}, Text} <- ets:tab2list(oracle)])]),
    Downs = lists:sort([Text || {{down, _}, Text} <- ets:tab2list(oracle)]),
    ets:match_delete(oracle, {{event, '_'}, '_'}),
    ets:match_delete(oracle, {{down, '_'}, '_'}),
    io:format("~s -> ~s | ~s | ~s | ~s~n",
              [Command, Answer, lists:join(", ", Events), lists:join(", ", Downs), children(Sup)]).

%% The children of a simple_one_for_one supervisor have no order, nor has what happens to several of them.
sorted(Texts) ->
    case ets:lookup(oracle, simple) of
        [{simple, true}] -> lists:sort(Texts);
        _ -> Texts
    end.

settle(_, _, 3) -> ok;
settle(Sup, Size, Quiet) ->
    drain(),
    case Sup =/= none andalso is_process_alive(Sup) of
        true -> catch supervisor:count_children(Sup);
        false -> ok
    end,
    timer:sleep(3),
    drain(),
    case ets:info(oracle, size) of
        Size -> settle(Sup, Size, Quiet + 1);
        Other -> settle(Sup, Other, 0)
    end.

drain() ->
    receive
        {'EXIT', _, Reason} ->
            ets:insert(oracle, {exit, reason(Reason)}),
            drain()
    after 0 -> ok
    end.

children(none) -> "none";
children(Sup) ->
    case is_process_alive(Sup) of
        false ->
            [{exit, Reason}] = ets:lookup(oracle, exit),
            "exit " ++ Reason;
        true ->
            Shown = [atom_or_list(Id) ++ "=" ++ child_state(Child) || {Id, Child, _, _} <- supervisor:which_children(Sup)],
            lists:join(" ", sorted(Shown))
    end.

atom_or_list(undefined) -> "-";
atom_or_list(Id) -> Id.

child_state(Pid) when is_pid(Pid) -> shown(Pid);
child_state(Other) -> atom_to_list(Other).

shown(Pid) ->
    [{_, Name}] = ets:lookup(oracle, {id, Pid}),
    Name.

reason(Reason) when is_atom(Reason) -> atom_to_list(Reason);
reason({shutdown, {failed_to_start_child, Id, Reason}}) -> "shutdown failed_to_start_child " ++ Id ++ " " ++ reason(Reason);
reason({shutdown, Reason}) -> "shutdown " ++ reason(Reason).

spec([Id, Restart, Shutdown, Type, Significant, Behaviour]) ->
    #{id => Id, restart => list_to_atom(Restart), significant => Significant =:= "significant",
      shutdown => case Shutdown of
                      "brutal_kill" -> brutal_kill;
                      "infinity" -> infinity;
                      _ -> list_to_integer(Shutdown)
                  end,
      type => list_to_atom(Type), start => {?MODULE, start_child, [Id, list_to_atom(Behaviour)]}}.

init({Flags, Specs}) -> {ok, {Flags, Specs}}.

start_child(Id, Behaviour) ->
    Number = ets:update_counter(oracle, {number, Id}, 1, {{number, Id}, 0}),
    Name = Id ++ integer_to_list(Number),
    case ets:lookup(oracle, {plan, Id}) of
        [{_, {Outcome, Count}}] when Count > 0 ->
            ets:insert(oracle, {{plan, Id}, {Outcome, Count - 1}}),
            case Outcome of
                fail -> event("fail " ++ Name), {error, boom};
                decline -> event("decline " ++ Name), ignore
            end;
        _ ->
            proc_lib:start_link(?MODULE, child, [self(), {Id, Name}, Behaviour])
    end.

child(Parent, {Id, Name}, Behaviour) ->
    process_flag(trap_exit, Behaviour =/= plain),
    ets:insert(oracle, [{{pid, Id}, self(), Name}, {{pid, Name}, self(), Name}, {{id, self()}, Name}]),
    event("start " ++ Name),
    Watcher = spawn(fun() -> watch(Name) end),
    Watcher ! {self(), go},
    receive {Watcher, ready} -> ok end,
    proc_lib:init_ack(Parent, {ok, self()}),
    loop(Parent, Name, Behaviour).

watch(Name) ->
    receive
        {Pid, go} ->
            Monitor = monitor(process, Pid),
            Pid ! {self(), ready},
            receive
                {'DOWN', Monitor, process, Pid, Reason} ->
                    ets:insert(oracle, {{down, make_ref()}, Name ++ ":" ++ reason(Reason)})
            end
    end.

loop(Parent, Name, Behaviour) ->
    receive
        {exit_with, Reason} -> exit(Reason);
        {'EXIT', Parent, Reason} ->
            event("stop " ++ Name ++ " " ++ reason(Reason)),
            case Behaviour of
                stubborn -> loop(Parent, Name, Behaviour);
                odd -> exit(odd);
                _ -> exit(Reason)
            end
    end.

event(Text) ->
    Key = ets:update_counter(oracle, clock, 1, {clock, 0}),
    ets:insert(oracle, {{event, Key}, Text}).
