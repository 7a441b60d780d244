%% Processes: making and ending them, links, monitors, timers, memory.
-module(bench_processes).
-export([spawn/1, 'fork-join-create'/1, 'link-chain'/1, 'monitor-storm'/1, 'idle-memory'/1, timers/1,
         'timers-fire'/1]).

%% One at a time: spawn, one message, exit, heard of by a monitor.
spawn(#{processes := Processes}) ->
    Begin = bench:clock(),
    bench:each(Processes, fun(_) ->
        {Pid, Monitor} = spawn_monitor(fun() -> receive go -> ok end end),
        Pid ! go,
        receive {'DOWN', Monitor, process, Pid, normal} -> ok end
    end),
    (bench:clock() - Begin) / Processes.

%% All at once: spawn all, one message each, all exit.
'fork-join-create'(#{processes := Processes}) ->
    Self = self(),
    Begin = bench:clock(),
    bench:each(Processes, fun(_) ->
        Pid = erlang:spawn(fun() -> receive go -> Self ! finished end end),
        Pid ! go
    end),
    bench:collect(Processes, finished),
    (bench:clock() - Begin) / Processes.

'link-chain'(#{processes := Processes}) ->
    process_flag(trap_exit, true),
    First = erlang:spawn(fun wait/0),
    Last = chain(Processes - 1, First),
    Monitor = monitor(process, Last),
    Begin = bench:clock(),
    exit(First, broken),
    receive {'DOWN', Monitor, process, Last, broken} -> ok end,
    (bench:clock() - Begin) / Processes.

chain(0, Previous) -> Previous;
chain(Left, Previous) ->
    Self = self(),
    Next = erlang:spawn(fun() -> link(Previous), Self ! linked, wait() end),
    receive linked -> chain(Left - 1, Next) end.

wait() -> receive stop -> ok end.

'monitor-storm'(#{monitors := Monitors}) ->
    Target = erlang:spawn(fun wait/0),
    bench:each(Monitors, fun(_) -> monitor(process, Target) end),
    Begin = bench:clock(),
    exit(Target, broken),
    bench:each(Monitors, fun(_) -> receive {'DOWN', _, process, Target, broken} -> ok end end),
    (bench:clock() - Begin) / Monitors.

'idle-memory'(#{processes := Processes}) ->
    Before = resident(),
    Pids = [erlang:spawn(fun wait/0) || _ <- lists:seq(1, Processes)],
    After = resident(),
    [Pid ! stop || Pid <- Pids],
    (After - Before) / Processes.

resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(binary_to_list(Text), " "),
    list_to_integer(Pages) * 4096.

%% Set all, cancel all: none comes due.
timers(#{timers := Timers}) ->
    Begin = bench:clock(),
    References = [erlang:send_after(3600000 + Number rem 1000, self(), due) || Number <- lists:seq(1, Timers)],
    [erlang:cancel_timer(Reference) || Reference <- References],
    (bench:clock() - Begin) / Timers.

%% Set all for now, receive all.
'timers-fire'(#{timers := Timers}) ->
    Begin = bench:clock(),
    bench:each(Timers, fun(_) -> erlang:send_after(1, self(), due) end),
    bench:collect(Timers, due),
    (bench:clock() - Begin) / Timers.
