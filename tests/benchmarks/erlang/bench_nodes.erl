%% Two nodes on one machine, over Erlang's distribution (TCP on the loopback). The first is started with a
%% name, the second with peer.
-module(bench_nodes).
-export(['node-call'/1, 'node-send'/1, 'node-down'/1]).
-export([echo/0]).

with_node(Function) ->
    [Path | _] = [P || P <- code:get_path(), filelib:is_file(filename:join(P, "bench.beam"))],
    {ok, Peer, Node} = peer:start(#{name => peer:random_name(), args => ["-pa", Path]}),
    try Function(Node) after catch peer:stop(Peer) end.

echo() ->
    receive
        {From, Payload} when is_pid(From) -> From ! {self(), Payload}, echo();
        {increment, _} -> echo()
    end.

call(Server, Payload) ->
    Server ! {self(), Payload},
    receive {Server, Reply} -> Reply end.

calls(Node, Calls, Payload) ->
    Server = spawn(Node, ?MODULE, echo, []),
    bench:each(10, fun(_) -> call(Server, Payload) end),
    Begin = bench:clock(),
    bench:each(Calls, fun(_) -> call(Server, Payload) end),
    (bench:clock() - Begin) / Calls.

'node-call'(#{calls := Calls, size := Size}) ->
    with_node(fun(Node) -> calls(Node, Calls, binary:copy(<<"x">>, Size)) end).

'node-send'(#{messages := Messages, size := Size}) ->
    Message = {increment, binary:copy(<<"x">>, Size)},
    with_node(fun(Node) ->
        Server = spawn(Node, ?MODULE, echo, []),
        call(Server, ready),
        Begin = bench:clock(),
        bench:each(Messages, fun(_) -> Server ! Message end),
        call(Server, finished),
        (bench:clock() - Begin) / Messages
    end).

'node-down'(#{count := Count}) ->
    lists:sum([down() || _ <- lists:seq(1, Count)]) / Count.

down() ->
    with_node(fun(Node) ->
        Server = spawn(Node, ?MODULE, echo, []),
        call(Server, ready),
        Monitor = monitor(process, Server),
        Pid = rpc:call(Node, os, getpid, []),
        Port = open_port({spawn_executable, "/bin/sh"},
                         [{args, ["-c", "read go; kill -9 " ++ Pid]}, {line, 80}]),
        timer:sleep(50),
        Begin = bench:clock(),
        Port ! {self(), {command, "go\n"}},
        receive {'DOWN', Monitor, process, Server, noconnection} -> ok end,
        bench:clock() - Begin
    end).
