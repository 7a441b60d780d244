%% Runs scripts about the control of servers by stdlib's sys, and prints what happened; control.py has the language.
-module(control_oracle).
-behaviour(gen_server).
-export([main/1, init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3]).

main([File]) ->
    {ok, Text} = file:read_file(File),
    logger:set_primary_config(level, none),
    ets:new(control, [named_table, public, ordered_set]),
    [run(string:lexemes(Line, " ")) || Line <- string:lexemes(binary_to_list(Text), "\n")],
    halt(0).

run(["scenario", Name]) ->
    [exit(Pid, kill) || [Pid] <- ets:match(control, {{pid, '_'}, '$1'})],
    quiet:settle(),
    ets:delete_all_objects(control),
    io:format("scenario ~s~n", [Name]);
run(Command) ->
    Answer = try command(Command) catch exit:{noproc, _} -> "noproc"; exit:_ -> "refused"; error:_ -> "refused" end,
    quiet:settle(),
    Seen = lists:keysort(1, [{Whose, [Whose, " ", What]} || [Whose, What] <- ets:match(control, {{event, '_'}, '$1', '$2'})]),
    ets:match_delete(control, {{event, '_'}, '_', '_'}),
    io:format("~s | ~s | ~s~n", [lists:join(" ", Command), Answer, lists:join(", ", [What || {_, What} <- Seen])]).

log(Whose, What) -> ets:insert(control, {{event, ets:update_counter(control, clock, 1, {clock, 0})}, Whose, What}).

pid(Name) -> ets:lookup_element(control, {pid, Name}, 2).

command(["boot", Name, Trap]) ->
    {ok, Pid} = gen_server:start(?MODULE, {Name, Trap}, []),
    ets:insert(control, {{pid, Name}, Pid}),
    Self = self(),
    Watcher = spawn(fun() ->
                            Monitor = monitor(process, Pid),
                            Self ! {self(), ready},
                            receive {'DOWN', Monitor, _, _, Reason} -> log(Name, ["ends ", reason(Reason)]) end
                    end),
    receive {Watcher, ready} -> "" end;
command(["cast", Name | What]) -> gen_server:cast(pid(Name), What), "";
command(["send", Name, Text]) -> pid(Name) ! {text, Text}, "";
command(["call", Label, Name | What]) ->
    spawn(fun() ->
                  log(Label, try gen_server:call(pid(Name), What, infinity)
                             catch exit:{Reason, {gen_server, _, _}} -> ["died ", reason(Reason)] end)
          end),
    "";
command(["exit", Name, Reason]) -> spawn(fun() -> exit(pid(Name), list_to_atom(Reason)) end), "";
command(["suspend", Name]) -> atom_to_list(sys:suspend(pid(Name)));
command(["resume", Name]) -> atom_to_list(sys:resume(pid(Name)));
command(["get", Name]) -> shown(sys:get_state(pid(Name)));
command(["set", Name, "crash"]) -> sys:replace_state(pid(Name), fun(_) -> error(crash) end), "";
command(["set", Name, Value]) -> shown(sys:replace_state(pid(Name), fun({V, _}) -> {V, list_to_integer(Value)} end));
command(["status", Name]) ->
    {status, _, _, [_, State | _]} = sys:get_status(pid(Name)),
    atom_to_list(State);
command(["terminate", Name, Reason]) -> atom_to_list(sys:terminate(pid(Name), list_to_atom(Reason)));
command(["change", Name, Extra]) ->
    case sys:change_code(pid(Name), ?MODULE, old, Extra) of ok -> "ok"; {error, _} -> "refused" end.

shown({Version, Value}) -> [Version, " ", integer_to_list(Value)].

reason(Reason) when is_atom(Reason) -> atom_to_list(Reason);
reason(_) -> "crashed".

%% Servers. The state is the version of the code, and a number.

init({Name, Trap}) ->
    process_flag(trap_exit, Trap =:= "trap"),
    put(name, Name),
    {ok, {"first", 0}}.

handle_call(["add", N], _, {V, Old}) -> {reply, integer_to_list(Old + list_to_integer(N)), {V, Old + list_to_integer(N)}};
handle_call(["stop", Reason], _, State) -> {stop, list_to_atom(Reason), "stopping", State};
handle_call(["crash"], _, _) -> error(crash).

handle_cast(["add", N], {V, Old}) -> log(get(name), ["adds ", N]), {noreply, {V, Old + list_to_integer(N)}};
handle_cast(["stop", Reason], State) -> {stop, list_to_atom(Reason), State};
handle_cast(["crash"], _) -> error(crash).

handle_info({text, Text}, State) -> log(get(name), ["text ", Text]), {noreply, State};
handle_info({'EXIT', _, Reason}, State) -> log(get(name), ["exit ", reason(Reason)]), {noreply, State}.

terminate(Reason, {V, Value}) -> log(get(name), ["stops ", V, " ", integer_to_list(Value), " ", reason(Reason)]).

code_change(_, {V, _}, "crash") -> error({crash, V});
code_change(_, {"first", Value}, _) -> log(get(name), "changes"), {ok, {"second", Value}};
code_change(_, {"second", Value}, _) -> log(get(name), "changes"), {ok, {"first", Value}}.
