%% Two nodes on one machine, over Erlang's distribution (TCP on the loopback). The first is started with a
%% name, the second with peer.
-module(bench_nodes).
-export(['node-call'/1, 'node-crowd'/1, 'node-send'/1, 'node-spawn'/1, 'node-reconnect'/1, 'node-down'/1]).
-export([echo/0, caller/4]).

with_node(Function) -> with_nodes(1, fun([Node]) -> Function(Node) end).

%% Controlled over standard input and output, so that a node survives the end of the connection to it.
with_nodes(Count, Function) ->
    [Path | _] = [P || P <- code:get_path(), filelib:is_file(filename:join(P, "bench.beam"))],
    Options = fun() -> #{name => peer:random_name(), args => ["-pa", Path], connection => standard_io} end,
    Started = [begin {ok, Peer, Node} = peer:start(Options()), {Peer, Node} end || _ <- lists:seq(1, Count)],
    {Peers, Nodes} = lists:unzip(Started),
    try Function(Nodes) after [catch peer:stop(Peer) || Peer <- Peers] end.

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

%% So many nodes call this one, each from an OS process of its own.
'node-crowd'(#{calls := Calls, size := Size, clients := Count}) ->
    Self = self(),
    Server = spawn_link(?MODULE, echo, []),
    with_nodes(Count, fun(Nodes) ->
        Callers = [spawn_link(Node, ?MODULE, caller, [Self, Server, Calls, Size]) || Node <- Nodes],
        bench:collect(Count, ready),
        Begin = bench:clock(),
        [Caller ! go || Caller <- Callers],
        bench:collect(Count, finished),
        Elapsed = bench:clock() - Begin,
        [unlink(Caller) || Caller <- Callers],
        Elapsed / (Count * Calls)
    end).

caller(Parent, Server, Calls, Size) ->
    Payload = binary:copy(<<"x">>, Size),
    bench:each(10, fun(_) -> call(Server, Payload) end),
    Parent ! ready,
    receive go -> ok end,
    bench:each(Calls, fun(_) -> call(Server, Payload) end),
    Parent ! finished,
    receive stop -> ok end.

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

'node-spawn'(#{processes := Processes}) ->
    with_node(fun(Node) ->
        Begin = bench:clock(),
        bench:each(Processes, fun(_) -> call(spawn(Node, ?MODULE, echo, []), ready) end),
        (bench:clock() - Begin) / Processes
    end).

%% The message finds no connection, and makes one.
'node-reconnect'(#{count := Count}) ->
    with_node(fun(Node) ->
        Server = spawn(Node, ?MODULE, echo, []),
        call(Server, ready),
        Begin = bench:clock(),
        bench:each(Count, fun(_) -> true = erlang:disconnect_node(Node), call(Server, ready) end),
        (bench:clock() - Begin) / Count
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
