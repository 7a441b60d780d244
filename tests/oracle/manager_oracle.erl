%% Runs scripted event managers on stdlib's gen_event and prints what happened; manager.py describes the language.
-module(manager_oracle).
-behaviour(gen_event).
-export([main/1, init/1, handle_event/2, handle_call/2, handle_info/2, terminate/2, owner/1]).

main([File]) ->
    {ok, Text} = file:read_file(File),
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    ets:new(manager, [named_table, public, ordered_set]),
    [run(string:lexemes(Line, " ")) || Line <- string:lexemes(binary_to_list(Text), "\n")],
    halt(0).

run(["scenario", Name]) ->
    [exit(Pid, kill) || [Pid] <- ets:match(manager, {{pid, '_'}, '$1'})],
    quiet:settle(),
    ets:delete_all_objects(manager),
    io:format("scenario ~s~n", [Name]);
run(["on", Key, Event, What]) ->
    ets:insert(manager, {{on, Key, Event}, What});
run(["boot"]) ->
    {ok, Manager} = gen_event:start(),
    ets:insert(manager, {{pid, manager}, Manager});
run(["owner", Name]) ->
    ets:insert(manager, {{pid, Name}, spawn(?MODULE, owner, [Name])});
run(Command) ->
    Manager = ets:lookup_element(manager, {pid, manager}, 2),
    Answer = try command(Command, Manager) catch exit:_ -> "no process" end,
    quiet:settle(),
    Seen = [[Whose, " ", What] || [Whose, What] <- lists:sort(fun([A, _], [B, _]) -> A =< B end, events())],
    io:format("~s | ~s | ~s~n", [lists:join(" ", Command), Answer, lists:join(", ", Seen)]).

events() ->
    Found = ets:match(manager, {{event, '_'}, '$1', '$2'}),
    ets:match_delete(manager, {{event, '_'}, '_', '_'}),
    Found.

log(Whose, What) ->
    ets:insert(manager, {{event, ets:update_counter(manager, clock, 1, {clock, 0})}, Whose, What}).

does(Key, Event) ->
    case ets:lookup(manager, {on, Key, Event}) of
        [{_, What}] -> What;
        [] -> "nothing"
    end.

has(Manager, Key) -> lists:member({?MODULE, Key}, gen_event:which_handlers(Manager)).

command(["add", Key | Owner], Manager) ->
    case {has(Manager, Key), Owner} of
        {true, _} -> "exists";
        {false, []} -> added(gen_event:add_handler(Manager, {?MODULE, Key}, Key));
        {false, [Name]} ->
            ets:lookup_element(manager, {pid, Name}, 2) ! {add, self(), Manager, Key},
            receive {added, Answer} -> added(Answer) end
    end;
command(["delete", Key], Manager) ->
    case gen_event:delete_handler(Manager, {?MODULE, Key}, deleted) of
        {error, module_not_found} -> "no handler";
        {'EXIT', _} -> "crashed";
        Left -> Left
    end;
command(["swap", Key, New], Manager) ->
    case {has(Manager, Key), New =/= Key andalso has(Manager, New)} of
        {false, _} -> "no handler";
        {true, true} -> "exists";
        {true, false} -> added(gen_event:swap_handler(Manager, {{?MODULE, Key}, deleted}, {{?MODULE, New}, New}))
    end;
command(["which"], Manager) -> lists:join(" ", lists:sort([Key || {_, Key} <- gen_event:which_handlers(Manager)]));
command(["notify", Event], Manager) -> gen_event:notify(Manager, Event), "-";
command(["sync", Event], Manager) -> gen_event:sync_notify(Manager, Event), "-";
command(["send", Event], Manager) -> Manager ! Event, "-";
command(["call", Key, Event], Manager) ->
    case gen_event:call(Manager, {?MODULE, Key}, Event, infinity) of
        {error, bad_module} -> "no handler";
        {error, {'EXIT', _}} -> "crashed";
        Answer -> Answer
    end;
command(["die", Name, Reason], _) -> ets:lookup_element(manager, {pid, Name}, 2) ! {die, list_to_atom(Reason)}, "-";
command(["stop", Reason], Manager) -> gen_event:stop(Manager, list_to_atom(Reason), infinity), "-".

added(ok) -> "-";
added({'EXIT', _}) -> "crashed";
added({error, {'EXIT', _}}) -> "crashed".

owner(Name) ->
    process_flag(trap_exit, true),
    receive
        {add, From, Manager, Key} -> From ! {added, catch gen_event:add_sup_handler(Manager, {?MODULE, Key}, Key)};
        {die, Reason} -> exit(Reason);
        {gen_event_EXIT, {_, _}, {swapped, _, _}} -> ok;
        {gen_event_EXIT, {_, Key}, Reason} -> log(Key, ["tells ", Name, " ", reason(Reason)]);
        _ -> ok
    end,
    owner(Name).

reason(normal) -> "normal";
reason(shutdown) -> "stop";
reason({'EXIT', _}) -> "crashed".

%% A handler. What it leaves to the one that takes its place is its name.

init({Key, Left}) ->
    log(Key, ["takes over from ", case Left of {'EXIT', _} -> "nothing"; _ -> Left end]),
    start(Key);
init(Key) -> start(Key).

start(Key) ->
    log(Key, "start"),
    case does(Key, "start") of
        "crash" -> error(crash);
        _ -> {ok, Key}
    end.

handle_event(Event, Key) ->
    log(Key, Event),
    case does(Key, Event) of
        "remove" -> remove_handler;
        "crash" -> error(crash);
        _ -> {ok, Key}
    end.

%% The end of another handler's owner is told to all, because the manager is linked with it.
handle_info({'EXIT', _, _}, Key) -> {ok, Key};
handle_info(Event, Key) -> handle_event(Event, Key).

handle_call(Event, Key) ->
    log(Key, ["call ", Event]),
    case does(Key, Event) of
        "remove" -> {remove_handler, "bye " ++ Key};
        "crash" -> error(crash);
        _ -> {ok, Key ++ "." ++ Event, Key}
    end.

terminate({error, _}, _) -> ok;
terminate(Why, Key) ->
    log(Key, ["end ", case Why of
                          stop -> "stop";
                          {stop, Reason} -> ["owner ", atom_to_list(Reason)];
                          _ -> "normal"
                      end]),
    case does(Key, "end") of
        "crash" -> error(crash);
        _ -> "left by " ++ Key
    end.
