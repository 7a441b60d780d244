%% Runs random scripts of processes and supervisors, and prints what happened, for comparison with ours.
%%
%% The script has one command a line; its language is described in world.py. After each command, once nothing can run,
%% the command is printed, and behind it what processes have seen, one event a line: a tab, whose event it is, who
%% caused it, what it is; then the ends of processes, and the children of each supervisor.
-module(world_oracle).
-behaviour(gen_server).
-export([main/1, init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, start_child/2, raw/3]).

main([File, Unit]) ->
    {ok, Text} = file:read_file(File),
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    ets:new(world, [named_table, public, ordered_set]),
    persistent_term:put(unit, list_to_integer(Unit)),
    [run(string:lexemes(Line, " ")) || Line <- string:lexemes(binary_to_list(Text), "\n")],
    clean(),
    halt(0).

run(["scenario", Name]) ->
    clean(),
    ets:delete_all_objects(world),
    Nobody = spawn(fun() -> ok end),
    ets:insert(world, [{nobody, Nobody}, {{name, Nobody}, "nobody"}, {start, erlang:monotonic_time(millisecond)}, {now, 0}, {timed, false}]),
    io:format("scenario ~s~n", [Name]);
run(Command) ->
    io:format("~s~n", [lists:join(" ", Command)]),
    case command(Command) of
        ok -> ok;
        Answer -> io:format("\tanswer - ~s~n", [Answer])
    end,
    quiet:settle(),
    report(),
    check_time().

report() ->
    [io:format("\t~s~n", [Text]) || [Text] <- ets:match(world, {{event, '_'}, '$1'})],
    ets:match_delete(world, {{event, '_'}, '_'}),
    [io:format("\tchildren ~s ~s~n", [Name, children(Pid)]) || [Name, Pid] <- ets:match(world, {{supervisor, '$1'}, '$2'}),
                                                              is_process_alive(Pid)].

children(Sup) ->
    lists:join(" ", [Id ++ "=" ++ state(Child) || {Id, Child, _, _} <- supervisor:which_children(Sup)]).

state(Pid) when is_pid(Pid) -> shown(Pid);
state(Other) -> atom_to_list(Other).

%% End everything that the script has left.
clean() ->
    Pids = [Pid || [Pid] <- ets:match(world, {{name, '$1'}, '_'}), is_process_alive(Pid)],
    [exit(Pid, kill) || Pid <- Pids],
    case Pids of
        [] -> quiet:settle();
        _ -> quiet:settle(), clean()
    end.

%% Time goes by in units: commands are carried out in the middle of one, timers fire at its beginning.

moment(Halves) ->
    [{_, Start}] = ets:lookup(world, start),
    [{_, Now}] = ets:lookup(world, now),
    Start + (2 * Now + Halves) * persistent_term:get(unit) div 2.

check_time() ->
    case ets:lookup(world, timed) =:= [{timed, true}] andalso erlang:monotonic_time(millisecond) >= moment(2) of
        true -> io:format("late~n");
        false -> ok
    end.

wait_until(Moment) ->
    timer:sleep(max(0, Moment - erlang:monotonic_time(millisecond))).

%% Commands of the script itself.

command(["new", Name, Kind, Trap]) -> start(Name, Kind, Trap, none), ok;
command(["register", Name, Target]) -> attempt(fun() -> register(list_to_atom(Name), pid(Target)), "ok" end);
command(["unregister", Name]) -> attempt(fun() -> unregister(list_to_atom(Name)), "ok" end);
command(["wait", Units]) ->
    ets:update_counter(world, now, list_to_integer(Units)),
    case ets:lookup(world, timed) of
        [{_, true}] -> wait_until(moment(1));
        _ -> ok
    end,
    ok;
command(["define", Name, Strategy, Intensity, Auto]) ->
    ets:insert(world, {{flags, Name}, #{strategy => list_to_atom(Strategy), intensity => list_to_integer(Intensity),
                                        period => 3600, auto_shutdown => list_to_atom(Auto)}, []}),
    ok;
command(["child", Name | Fields]) ->
    [{Key, Flags, Specs}] = ets:lookup(world, {flags, Name}),
    ets:insert(world, {Key, Flags, Specs ++ [spec(Name, Fields)]}),
    ok;
command(["boot", Name]) ->
    case supervisor:start_link(?MODULE, {supervisor, Name}) of
        {ok, _} -> "ok";
        {error, Reason} -> reason(Reason)
    end;
command(["fail", Id, Count]) -> ets:insert(world, {{plan, Id}, fail, list_to_integer(Count)}), ok;
command(["decline", Id, Count]) -> ets:insert(world, {{plan, Id}, decline, list_to_integer(Count)}), ok;
command(["halt", Name]) -> exit(pid(Name), shutdown), ok;
command(["ask", Name, "start" | Fields]) -> answer(catch supervisor:start_child(pid(Name), spec(Name, Fields)));
command(["ask", Name, "terminate", Id]) -> answer(catch supervisor:terminate_child(pid(Name), Id));
command(["ask", Name, "restart", Id]) -> answer(catch supervisor:restart_child(pid(Name), Id));
command(["ask", Name, "delete", Id]) -> answer(catch supervisor:delete_child(pid(Name), Id));
command(["ask", Name, "count"]) ->
    case catch supervisor:count_children(pid(Name)) of
        {'EXIT', _} -> "noproc";
        Counts -> lists:join(" ", [integer_to_list(proplists:get_value(Key, Counts)) || Key <- [specs, active, supervisors, workers]])
    end;
command([Name | Action]) -> pid(Name) ! {do, Action}, ok.

attempt(Fun) -> try Fun() catch error:_ -> "refused" end.

answer(ok) -> "ok";
answer({ok, undefined}) -> "ok undefined";
answer({ok, Pid}) when is_pid(Pid) -> "ok " ++ shown(Pid);
answer({error, {already_started, Pid}}) -> "already_started " ++ shown(Pid);
answer({error, {Reason, Child}}) when element(1, Child) =:= child -> "start failed " ++ reason(Reason);
answer({error, Reason}) when Reason =:= running; Reason =:= restarting; Reason =:= not_found; Reason =:= already_present ->
    atom_to_list(Reason);
answer({error, Reason}) -> "start failed " ++ reason(Reason);
answer({'EXIT', _}) -> "noproc".

%% Processes.

start(Name, "raw", Trap, Option) ->
    Options = case Option of link -> [link]; monitor -> [monitor]; _ -> [] end,
    Pid = case spawn_opt(?MODULE, raw, [self(), Name, Trap], Options) of
              {Made, _} -> Made;
              Made -> Made
          end,
    receive {Pid, ready} -> ok end;
start(Name, Kind, Trap, link) -> {ok, _} = gen_server:start_link(?MODULE, {server, "-", Name, Kind, Trap}, []);
start(Name, Kind, Trap, _) -> {ok, _} = gen_server:start(?MODULE, {server, "-", Name, Kind, Trap}, []).

raw(Starter, Name, Trap) ->
    born(Name, Name),
    process_flag(trap_exit, Trap =:= "trap"),
    Starter ! {self(), ready},
    raw(Name).

raw(Name) ->
    receive
        {do, Action} -> perform(Action);
        Other -> seen(Other)
    end,
    raw(Name).

%% A process is known by its name, and by that of its incarnation, which is shown. Its end is written down.
born(Name, Incarnation) ->
    Self = self(),
    ets:insert(world, [{{pid, Name}, Self}, {{name, Self}, Incarnation}]),
    put(name, Incarnation),
    Watcher = spawn(fun() ->
                            Monitor = monitor(process, Self),
                            Self ! {self(), ready},
                            receive {'DOWN', Monitor, process, _, Reason} -> event("ends", Incarnation, reason(Reason)) end
                    end),
    receive {Watcher, ready} -> ok end.

pid(Name) ->
    case ets:lookup(world, {pid, Name}) of
        [{_, Pid}] -> Pid;
        [] -> ets:lookup_element(world, nobody, 2)
    end.

target([$@ | Name]) -> list_to_atom(Name);
target(Name) -> pid(Name).

shown(Pid) when is_pid(Pid) ->
    case ets:lookup(world, {name, Pid}) of
        [{_, Name}] -> Name;
        [] -> "driver"
    end;
shown({Name, _}) -> "@" ++ atom_to_list(Name).

event(Whose, Cause, Text) ->
    Key = ets:update_counter(world, clock, 1, {clock, 0}),
    ets:insert(world, {{event, Key}, [Whose, " ", Cause, " ", Text]}).

note(Text) -> event(get(name), "-", Text).

seen({'EXIT', Pid, Reason}) -> event(get(name), shown(Pid), "exit " ++ reason(Reason));
seen({'DOWN', Monitor, process, Pid, Reason}) ->
    event(get(name), shown(Pid), "down " ++ label(Monitor) ++ " " ++ reason(Reason));
seen({text, From, Text}) -> event(get(name), From, "message " ++ Text);
seen({timer, Text}) -> event(get(name), "timer", Text).

label(Monitor) -> case get({label, Monitor}) of undefined -> "-"; Label -> Label end.

reason(Reason) when is_atom(Reason) -> atom_to_list(Reason);
reason({shutdown, {failed_to_start_child, Id, Reason}}) -> "shutdown failed_to_start_child " ++ Id ++ " " ++ reason(Reason);
reason({shutdown, Reason}) -> "shutdown " ++ reason(Reason);
reason(_) -> "crashed".

given("shutdown:x") -> {shutdown, x};
given(Reason) -> list_to_atom(Reason).

%% What a process can be told to do.

perform(["spawn", Name, Kind, Trap, Option]) -> start(Name, Kind, Trap, list_to_atom(Option));
perform(["link", Name]) -> try link(pid(Name)) catch error:noproc -> note("link noproc") end;
perform(["unlink", Name]) -> unlink(pid(Name));
perform(["monitor", Name, Label]) ->
    Monitor = monitor(process, target(Name)),
    put({monitor, Label}, Monitor),
    put({label, Monitor}, Label);
perform(["demonitor", Label | Flush]) ->
    case get({monitor, Label}) of
        undefined -> ok;
        Monitor -> note("demonitor " ++ atom_to_list(demonitor(Monitor, [info] ++ [flush || Flush =/= []])))
    end;
perform(["exit", Name, Reason]) -> exit(pid(Name), given(Reason));
perform(["die", Reason]) -> exit(given(Reason));
perform(["crash"]) -> error(crash);
perform(["trap", Trap]) -> process_flag(trap_exit, Trap =:= "on");
perform(["send", Name, Text]) ->
    try target(Name) ! {text, get(name), Text} catch error:badarg -> note("send refused") end;
perform(["cast", Name | Request]) -> gen_server:cast(target(Name), Request);
perform(["call", Name | Request]) ->
    note("result " ++ try gen_server:call(target(Name), Request, infinity) catch exit:Why -> failure(Why) end);
perform(["stop", Name, Reason]) ->
    note("result " ++ try gen_server:stop(target(Name), given(Reason), infinity), "ok" catch exit:Why -> failure(Why) end);
perform(["timer", Label, Units, Text]) ->
    ets:insert(world, {timed, true}),
    Fires = moment(2 * list_to_integer(Units)),
    put({timer, Label}, erlang:send_after(Fires, self(), {timer, Text}, [{abs, true}]));
perform(["cancel", Label]) ->
    case get({timer, Label}) of
        undefined -> ok;
        Timer -> note("cancel " ++ case erlang:cancel_timer(Timer) of false -> "false"; _ -> "true" end)
    end.

failure({noproc, _}) -> "noproc";
failure({calling_self, _}) -> "calling_self";
failure(noproc) -> "noproc";
failure({Reason, {Module, _, _}}) when Module =:= gen_server; Module =:= sys -> "died " ++ reason(Reason);
failure(Reason) -> "died " ++ reason(Reason).

%% Servers, which are also the children of supervisors. The state is what the server kept to answer later.

init({supervisor, Name}) ->
    born(Name, incarnation(Name)),
    ets:insert(world, {{supervisor, get(name)}, self()}),
    [{_, Flags, Specs}] = ets:lookup(world, {flags, Name}),
    event(parent(Name), "-", "start " ++ get(name)),
    {ok, {Flags, Specs}};
init({server, Group, Name, Kind, Trap}) ->
    born(Name, case Group of "-" -> Name; _ -> incarnation(Name) end),
    put(group, Group),
    put(kind, Kind),
    process_flag(trap_exit, Trap =:= "trap"),
    Group =/= "-" andalso event(Group, "-", "start " ++ get(name)),
    {ok, []}.

incarnation(Name) ->
    Name ++ integer_to_list(ets:update_counter(world, {number, Name}, 1, {{number, Name}, 0})).

parent(Name) ->
    case ets:lookup(world, {parent, Name}) of
        [{_, Parent}] -> Parent;
        [] -> "driver"
    end.

handle_call(["echo", Text], _, Kept) -> {reply, Text, Kept};
handle_call(["stop", Reason, Text], _, Kept) -> {stop, given(Reason), Text, Kept};
handle_call(["keep"], From, Kept) -> {noreply, Kept ++ [From]};
handle_call(Request, _, Kept) -> request(Request, Kept).

handle_cast(["answer", Text], [From | Kept]) -> gen_server:reply(From, Text), {noreply, Kept};
handle_cast(["answer", _], []) -> {noreply, []};
handle_cast(["stop", Reason], Kept) -> {stop, given(Reason), Kept};
handle_cast(Request, Kept) -> request(Request, Kept).

request(["die", Reason], _) -> exit(given(Reason));
request(["crash"], _) -> error(crash).

handle_info({do, Action}, Kept) -> perform(Action), {noreply, Kept};
handle_info(Other, Kept) -> seen(Other), {noreply, Kept}.

terminate(Reason, _) ->
    Text = "stop " ++ get(name) ++ " " ++ reason(Reason),
    case get(group) of
        "-" -> event(get(name), "-", Text);
        Group -> event(Group, "-", Text)
    end,
    case get(kind) of
        "odd" -> exit(odd);
        _ -> ok
    end.

spec(Name, [Id, Restart, Shutdown, Significant, Kind]) ->
    ets:insert(world, {{parent, Id}, Name}),
    Start = case Kind of
                "supervisor" -> {supervisor, start_link, [?MODULE, {supervisor, Id}]};
                _ -> {?MODULE, start_child, [Id, {server, Name, Id, Kind, case Kind of "plain" -> "plain"; _ -> "trap" end}]}
            end,
    #{id => Id, restart => list_to_atom(Restart), significant => Significant =:= "significant", start => Start,
      type => case Kind of "supervisor" -> supervisor; _ -> worker end,
      shutdown => case Shutdown of
                      "brutal_kill" -> brutal_kill;
                      "infinity" -> infinity;
                      _ -> list_to_integer(Shutdown)
                  end}.

start_child(Id, Arguments) ->
    case ets:lookup(world, {plan, Id}) of
        [{Key, Outcome, Count}] when Count > 0 ->
            ets:insert(world, {Key, Outcome, Count - 1}),
            event(parent(Id), "-", atom_to_list(Outcome) ++ " " ++ Id),
            case Outcome of
                fail -> {error, boom};
                decline -> ignore
            end;
        _ -> gen_server:start_link(?MODULE, Arguments, [])
    end.
