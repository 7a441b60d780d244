%% Supervisors. Reports are off; the window stays small, because OTP walks the list of restarts at each restart.
-module(bench_supervision).
-behaviour(supervisor).
-export(['supervised-restart'/1, 'restart-storm'/1, 'start-children'/1, 'stop-children'/1]).
-export([init/1, start_child/1, child/1]).

init({Strategy, Children}) ->
    {ok, {#{strategy => Strategy, intensity => 1000000, period => 1}, Children}}.

child_spec(Id, Tester) ->
    #{id => Id, start => {?MODULE, start_child, [Tester]}, restart => permanent, shutdown => 5000}.

start_child(Tester) -> proc_lib:start_link(?MODULE, child, [Tester]).

child(Tester) ->
    proc_lib:init_ack({ok, self()}),
    Tester ! {started, self()},
    receive stop -> ok end.

start(Strategy, Children) ->
    process_flag(trap_exit, true),
    {ok, Supervisor} = supervisor:start_link(?MODULE, {Strategy, Children}),
    Supervisor.

stop(Supervisor) ->
    exit(Supervisor, shutdown),
    receive {'EXIT', Supervisor, shutdown} -> ok end.

'supervised-restart'(#{supervisors := Supervisors, restarts := Restarts}) ->
    lists:sum([supervised_restart(Restarts) || _ <- lists:seq(1, Supervisors)]) / (Supervisors * Restarts).

supervised_restart(Restarts) ->
    Supervisor = start(one_for_one, [child_spec(1, self())]),
    First = receive {started, Pid} -> Pid end,
    Begin = bench:clock(),
    restart(Restarts, First),
    Elapsed = bench:clock() - Begin,
    stop(Supervisor),
    Elapsed.

restart(0, _Pid) -> ok;
restart(Left, Pid) ->
    exit(Pid, kill),
    receive {started, Next} -> restart(Left - 1, Next) end.

'restart-storm'(#{children := Children}) ->
    Self = self(),
    Supervisor = start(one_for_one, [child_spec(Id, Self) || Id <- lists:seq(1, Children)]),
    Pids = [receive {started, Pid} -> Pid end || _ <- lists:seq(1, Children)],
    Begin = bench:clock(),
    [exit(Pid, kill) || Pid <- Pids],
    [receive {started, _} -> ok end || _ <- Pids],
    Elapsed = bench:clock() - Begin,
    stop(Supervisor),
    Elapsed / Children.

'start-children'(#{children := Children}) ->
    Supervisor = start(simple_one_for_one, [child_spec(any, self())]),
    Begin = bench:clock(),
    bench:each(Children, fun(_) -> {ok, _} = supervisor:start_child(Supervisor, []) end),
    Elapsed = bench:clock() - Begin,
    stop(Supervisor),
    Elapsed / Children.

'stop-children'(#{children := Children}) ->
    Supervisor = start(simple_one_for_one, [child_spec(any, self())]),
    bench:each(Children, fun(_) -> {ok, _} = supervisor:start_child(Supervisor, []) end),
    Begin = bench:clock(),
    stop(Supervisor),
    (bench:clock() - Begin) / Children.
