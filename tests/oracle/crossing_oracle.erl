%% Runs scripts about the processes of two nodes, and prints what happened; crossing.py describes the language.
%%
%% The nodes are a and b, each at an address of the loopback of its own, so that both can have one port, and find each
%% other without a daemon that knows their ports. Which processes there are stands in a table of each node's own.
-module(crossing_oracle).
-export([main/1, open/0, clear/0, born/3, raw/3, tell/2, taken/0]).

main([File, Port]) ->
    {ok, Text} = file:read_file(File),
    Options = ["-start_epmd", "false", "-erl_epmd_port", Port, "-setcookie", "oracle", "+S", "1:1",
               "-kernel", "inet_dist_use_interface", "{127,0,0,2}", "-pa", filename:dirname(File)],
    Name = "b" ++ Port,
    {ok, _, B} = peer:start_link(#{name => Name, host => "127.0.0.2", longnames => true, connection => standard_io,
                                   args => Options}),
    persistent_term:put(b, B),
    true = net_kernel:connect_node(B),
    [on(Where, open, []) || Where <- ["a", "b"]],
    [run(string:lexemes(Line, " ")) || Line <- string:lexemes(binary_to_list(Text), "\n")],
    halt(0).

node_of("a") -> node();
node_of("b") -> persistent_term:get(b).

on(Where, Function, Arguments) -> erpc:call(node_of(Where), ?MODULE, Function, Arguments).

run(["scenario", Name]) ->
    [on(Where, clear, []) || Where <- ["a", "b"]],
    settle(),
    [on(Where, taken, []) || Where <- ["a", "b"]],
    [erase(Key) || {{pid, _} = Key, _} <- get()],
    io:format("scenario ~s~n", [Name]);
run(Command) ->
    Answer = command(Command),
    settle(),
    {Events, Ends} = lists:unzip([on(Where, taken, []) || Where <- ["a", "b"]]),
    io:format("~s | ~s | ~s | ~s~n", [lists:join(" ", Command), Answer,
                                      lists:join(", ", [[Whose, " ", What] || {Whose, What} <- lists:keysort(1, lists:append(Events))]),
                                      lists:join(", ", lists:sort(lists:append(Ends)))]).

%% An effect may cause one on the other node: what a node has sent is there before the answer to a later call is.
settle() -> [begin quiet:settle(), erpc:call(node_of("b"), quiet, settle, []) end || _ <- lists:seq(1, 8)].

command(["new", Name, Where, Trap]) ->
    Pid = on(Where, born, [Name, Where, Trap]),
    put({pid, Name}, Pid),
    [on(Each, tell, [Name, Pid]) || Each <- ["a", "b"]],
    "";
command(["cut"]) ->
    true = erlang:disconnect_node(node_of("b")),
    connect(),
    "";
command([Name | Words]) ->
    Pid = get({pid, Name}),
    case erpc:call(node(Pid), erlang, is_process_alive, [Pid]) of
        true -> Pid ! {do, actions(Words, [], [])}, "";
        false -> "gone"
    end.

%% The other node refuses as long as it has not noticed that the last connection is over.
connect() ->
    timer:sleep(1),
    net_kernel:connect_node(node_of("b")) orelse connect().

actions([], Action, Actions) -> lists:reverse([lists:reverse(Action) | Actions]);
actions([";" | Words], Action, Actions) -> actions(Words, [], [lists:reverse(Action) | Actions]);
actions([Word | Words], Action, Actions) -> actions(Words, [Word | Action], Actions).

%% What one node keeps.

open() ->
    logger:set_primary_config(level, none),
    Self = self(),
    {Keeper, Monitor} = spawn_monitor(fun() ->
                                              [ets:new(Table, [named_table, public, ordered_set]) || Table <- [pids, names, events, ends]],
                                              Self ! {self(), ready},
                                              receive never -> ok end
                                      end),
    receive {Keeper, ready} -> demonitor(Monitor) end.

clear() ->
    [exit(Pid, kill) || {_, Pid} <- ets:tab2list(pids), node(Pid) =:= node()],
    [ets:delete_all_objects(Table) || Table <- [pids, names]].

tell(Name, Pid) -> ets:insert(pids, {Name, Pid}), ets:insert(names, {Pid, Name}).

taken() ->
    Found = {[{Whose, What} || {_, Whose, What} <- ets:tab2list(events)], [End || {_, End} <- ets:tab2list(ends)]},
    [ets:delete_all_objects(Table) || Table <- [events, ends]],
    Found.

%% Processes.

born(Name, Where, Trap) ->
    Self = self(),
    Pid = spawn(?MODULE, raw, [Self, Name ++ Where, Trap]),
    receive {Pid, ready} -> Pid end.

raw(Starter, FullName, Trap) ->
    Self = self(),
    Name = lists:droplast(FullName),
    register(list_to_atom(Name), Self),
    put(name, Name),
    Watcher = spawn(fun() ->
                            Monitor = monitor(process, Self),
                            Self ! {self(), ready},
                            receive {'DOWN', Monitor, process, _, Reason} -> ets:insert(ends, {Self, Name ++ ":" ++ reason(Reason)}) end
                    end),
    receive {Watcher, ready} -> ok end,
    process_flag(trap_exit, Trap =:= "trap"),
    Starter ! {Self, ready},
    loop().

loop() ->
    receive
        {do, Actions} -> [perform(Action) || Action <- Actions];
        Other -> seen(Other)
    end,
    loop().

pid(Name) -> ets:lookup_element(pids, Name, 2).

target([$@ | Name]) -> {list_to_atom(Name), node(pid(Name))};
target(Name) -> pid(Name).

shown(Pid) when is_pid(Pid) -> ets:lookup_element(names, Pid, 2);
shown({Name, _}) -> "@" ++ atom_to_list(Name).

note(What) ->
    ets:insert(events, {erlang:unique_integer([monotonic]), get(name), What}).

seen({'EXIT', Pid, Reason}) -> note("exit " ++ shown(Pid) ++ " " ++ reason(Reason));
seen({'DOWN', Monitor, process, Whom, Reason}) ->
    note("down " ++ get({label, Monitor}) ++ " " ++ shown(Whom) ++ " " ++ reason(Reason));
seen({text, From, Text}) -> note("text " ++ Text ++ " of " ++ From);
seen({ask, From, Text}) -> note("asked " ++ Text), pid(From) ! {text, get(name), "re:" ++ Text}.

reason(Reason) when is_atom(Reason) -> atom_to_list(Reason).

perform(["send", Target, Text]) -> target(Target) ! {text, get(name), Text};
perform(["ask", Target, Text]) -> target(Target) ! {ask, get(name), Text};
perform(["link", Name]) -> try link(pid(Name)) catch error:noproc -> note("link noproc") end;
perform(["unlink", Name]) -> unlink(pid(Name));
perform(["monitor", Target, Label]) ->
    Monitor = monitor(process, target(Target)),
    put({monitor, Label}, Monitor),
    put({label, Monitor}, Label);
perform(["demonitor", Label | Flush]) ->
    case get({monitor, Label}) of
        undefined -> ok;
        Monitor -> note("demonitor " ++ atom_to_list(demonitor(Monitor, [info] ++ [flush || Flush =/= []])))
    end;
perform(["exit", Name, Reason]) -> exit(pid(Name), list_to_atom(Reason));
perform(["die", Reason]) -> exit(list_to_atom(Reason));
perform(["trap", Trap]) -> process_flag(trap_exit, Trap =:= "on").
