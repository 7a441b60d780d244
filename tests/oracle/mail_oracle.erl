%% Runs scripts about mailboxes, and prints what happened, for comparison with ours; mail.py describes the language.
-module(mail_oracle).
-export([main/1, raw/3]).

main([File, Unit]) ->
    {ok, Text} = file:read_file(File),
    logger:set_primary_config(level, none),
    ets:new(mail, [named_table, public, ordered_set]),
    persistent_term:put(unit, list_to_integer(Unit)),
    [run(string:lexemes(Line, " ")) || Line <- string:lexemes(binary_to_list(Text), "\n")],
    clean(),
    halt(0).

run(["scenario", Name]) ->
    clean(),
    ets:delete_all_objects(mail),
    {ok, _} = pg:start(pg),
    Nobody = spawn(fun() -> ok end),
    ets:insert(mail, [{nobody, Nobody}, {{name, Nobody}, "nobody"}, {start, erlang:monotonic_time(millisecond)}, {now, 0}, {timed, false}]),
    io:format("scenario ~s~n", [Name]);
run(Command) ->
    Answer = command(Command),
    quiet:settle(),
    %% Those of one process stay in order.
    Seen = [{Whose, [Whose, Text]} || [Whose, Text] <- ets:match(mail, {{event, '_'}, '$1', '$2'})],
    Events = [Text || {_, Text} <- lists:keysort(1, Seen)],
    Ends = lists:sort([Text || [Text] <- ets:match(mail, {{ends, '_'}, '$1'})]),
    ets:match_delete(mail, {{event, '_'}, '_', '_'}),
    ets:match_delete(mail, {{ends, '_'}, '_'}),
    io:format("~s | ~s | ~s | ~s~n", [lists:join(" ", Command), Answer, lists:join(", ", Events), lists:join(", ", Ends)]),
    check_time().

clean() ->
    catch gen_server:stop(pg),
    Pids = [Pid || [Pid] <- ets:match(mail, {{pid, '_'}, '$1'}), is_process_alive(Pid)],
    [exit(Pid, kill) || Pid <- Pids],
    quiet:settle().

moment(Halves) ->
    ets:lookup_element(mail, start, 2) + (2 * ets:lookup_element(mail, now, 2) + Halves) * persistent_term:get(unit) div 2.

check_time() ->
    case ets:lookup(mail, timed) =:= [{timed, true}] andalso erlang:monotonic_time(millisecond) >= moment(2) of
        true -> io:format("late~n");
        false -> ok
    end.

%% Commands of the script itself.

command(["new", Name, Trap]) -> born(Name, Trap, []), "";
command(["register", Name, Whom]) -> attempt(fun() -> register(list_to_atom(Name), pid(Whom)), "ok" end);
command(["unregister", Name]) -> attempt(fun() -> unregister(list_to_atom(Name)), "ok" end);
command(["timer", Label, Units, Target, Text]) ->
    ets:insert(mail, {timed, true}),
    Fires = moment(2 * list_to_integer(Units)),
    ets:insert(mail, {{timer, Label}, erlang:send_after(Fires, target(Target), {text, "timer", Text}, [{abs, true}])}),
    "";
command(["cancel", Label]) ->
    case ets:lookup(mail, {timer, Label}) of
        [{_, Timer}] -> case erlang:cancel_timer(Timer) of false -> "false"; _ -> "true" end;
        [] -> "none"
    end;
command(["wait", Units]) ->
    ets:update_counter(mail, now, list_to_integer(Units)),
    case ets:lookup(mail, timed) of
        [{_, true}] -> timer:sleep(max(0, moment(1) - erlang:monotonic_time(millisecond)));
        _ -> ok
    end,
    "";
command(["join", Group, Name]) ->
    case is_process_alive(pid(Name)) of
        true -> pg:join(Group, pid(Name)), "";
        false -> "gone"
    end;
command(["leave", Group, Name]) -> atom_to_list(catch pg:leave(Group, pid(Name)));
command(["members", Group]) -> lists:join(" ", lists:sort([shown(Pid) || Pid <- pg:get_local_members(Group)]));
command(["groups"]) -> lists:join(" ", lists:sort(pg:which_groups()));
command([Name | Words]) ->
    case is_process_alive(pid(Name)) of
        true -> pid(Name) ! {do, actions(Words, [], [])}, "";
        false -> "gone"
    end.

actions([], Action, Actions) -> lists:reverse([lists:reverse(Action) | Actions]);
actions([";" | Words], Action, Actions) -> actions(Words, [], [lists:reverse(Action) | Actions]);
actions([Word | Words], Action, Actions) -> actions(Words, [Word | Action], Actions).

attempt(Fun) -> try Fun() catch error:_ -> "refused" end.

%% Processes.

born(Name, Trap, Options) ->
    Pid = case spawn_opt(?MODULE, raw, [self(), Name, Trap], Options) of
              {Made, _} -> Made;
              Made -> Made
          end,
    receive {Pid, ready} -> ok end,
    Pid.

raw(Starter, Name, Trap) ->
    Self = self(),
    ets:insert(mail, [{{pid, Name}, Self}, {{name, Self}, Name}]),
    put(name, Name),
    put(owed, []),
    Watcher = spawn(fun() ->
                            Monitor = monitor(process, Self),
                            Self ! {self(), ready},
                            receive {'DOWN', Monitor, process, _, Reason} -> ets:insert(mail, {{ends, Self}, Name ++ ":" ++ reason(Reason)}) end
                    end),
    receive {Watcher, ready} -> ok end,
    process_flag(trap_exit, Trap =:= "trap"),
    Starter ! {Self, ready},
    raw().

raw() ->
    receive {do, Actions} -> [perform(Action) || Action <- Actions] end,
    raw().

pid(Name) ->
    case ets:lookup(mail, {pid, Name}) of
        [{_, Pid}] -> Pid;
        [] -> ets:lookup_element(mail, nobody, 2)
    end.

target([$@ | Name]) -> list_to_atom(Name);
target(Name) -> pid(Name).

shown(Pid) when is_pid(Pid) -> ets:lookup_element(mail, {name, Pid}, 2);
shown({Name, _}) -> "@" ++ atom_to_list(Name).

reason(Reason) when is_atom(Reason) -> atom_to_list(Reason).

note(Text) ->
    Key = ets:update_counter(mail, clock, 1, {clock, 0}),
    ets:insert(mail, {{event, Key}, get(name), [" ", Text]}).

perform(["spawn", Name, Trap, Option]) -> born(Name, Trap, case Option of "link" -> [link]; "alone" -> [] end);
perform(["send", Target, Text]) ->
    try target(Target) ! {text, get(name), Text} catch error:badarg -> note("send refused") end;
perform(["post", Label, Text]) ->
    case ets:lookup(mail, {alias, Label}) of
        [{_, Alias}] -> Alias ! {text, get(name), Text};
        [] -> ok
    end;
perform(["alias", Label, Mode]) ->
    Option = case Mode of "explicit" -> explicit_unalias; "reply" -> reply end,
    ets:insert(mail, {{alias, Label}, alias([Option])}),
    put({alias, Label}, true);
perform(["unalias", Label]) ->
    case get({alias, Label}) of
        true -> note("unalias " ++ atom_to_list(unalias(ets:lookup_element(mail, {alias, Label}, 2))));
        _ -> ok
    end;
perform(["monitor", Target, Label | Modes]) ->
    Alias = [{alias, case Mode of "explicit" -> explicit_unalias; _ -> list_to_atom(Mode) end} || Mode <- Modes],
    Monitor = monitor(process, target(Target), [{tag, {labelled, Label}} | Alias]),
    put({monitor, Label}, Monitor),
    Modes =/= [] andalso ets:insert(mail, {{alias, Label}, Monitor}),
    Modes =/= [] andalso put({alias, Label}, true);
perform(["demonitor", Label | Flush]) ->
    case get({monitor, Label}) of
        undefined -> ok;
        Monitor ->
            Was = demonitor(Monitor, [info]),
            %% The option flush looks for 'DOWN', which ours is not, because of its tag.
            Flush =/= [] andalso receive {{labelled, Label}, _, _, _, _} -> ok after 0 -> ok end,
            note("demonitor " ++ atom_to_list(Was))
    end;
perform(["link", Name]) -> try link(pid(Name)) catch error:noproc -> note("link noproc") end;
perform(["unlink", Name]) -> unlink(pid(Name));
perform(["exit", Name, Reason]) -> exit(pid(Name), list_to_atom(Reason));
perform(["die", Reason]) -> exit(list_to_atom(Reason));
perform(["trap", Trap]) -> process_flag(trap_exit, Trap =:= "on");
perform(["watch", Group]) ->
    {Watch, Members} = pg:monitor(Group),
    put({watch, Group}, Watch),
    note("watches " ++ lists:join(" ", lists:sort([shown(Pid) || Pid <- Members])));
perform(["unwatch", Group]) ->
    case get({watch, Group}) of
        undefined -> ok;
        Watch -> pg:demonitor(Watch), receive {Watch, _, _, _} -> ok after 0 -> ok end, erase({watch, Group})
    end;
perform(["request", Label, Target, Text]) -> put({request, Label}, gen_server:send_request(target(Target), {ask, Text}));
perform(["wait", Label]) -> response(Label, fun gen_server:wait_response/2);
perform(["give", Label]) -> response(Label, fun gen_server:receive_response/2), erase({request, Label});
perform(["answer", Text]) ->
    case get(owed) of
        [From | Owed] -> put(owed, Owed), gen_server:reply(From, Text);
        [] -> ok
    end;
perform(["take", "any"]) ->
    receive
        {text, _, _} = M -> taken(M);
        {{labelled, _}, _, _, _, _} = M -> taken(M);
        {'EXIT', _, _} = M -> taken(M);
        {'$gen_call', _, _} = M -> taken(M)
    after 0 -> note("takes nothing") end;
perform(["take", "text"]) -> receive {text, _, _} = M -> taken(M) after 0 -> note("takes nothing") end;
perform(["take", "down"]) -> receive {{labelled, _}, _, _, _, _} = M -> taken(M) after 0 -> note("takes nothing") end;
perform(["take", "exit"]) -> receive {'EXIT', _, _} = M -> taken(M) after 0 -> note("takes nothing") end;
perform(["take", "call"]) -> receive {'$gen_call', _, _} = M -> taken(M) after 0 -> note("takes nothing") end;
perform(["take", "group"]) ->
    receive
        {_, Way, Group, Pids} when is_list(Pids) ->
            note([atom_to_list(Way), " ", Group, " ", lists:join(" ", lists:sort([shown(Pid) || Pid <- Pids]))])
    after 0 -> note("takes nothing")
    end;
perform(["take", "from", Name]) -> receive {text, Name, _} = M -> taken(M) after 0 -> note("takes nothing") end;
perform(["await", Kind]) ->
    case Kind of
        "text" -> receive {text, _, _} = M -> taken(M) end;
        "exit" -> receive {'EXIT', _, _} = M -> taken(M) end;
        "down" -> receive {{labelled, _}, _, _, _, _} = M -> taken(M) end;
        "call" -> receive {'$gen_call', _, _} = M -> taken(M) end
    end.

taken({text, From, Text}) -> note(["takes text ", Text, " of ", From]);
taken({{labelled, Label}, _, process, Whom, Reason}) -> note(["takes down ", Label, " ", shown(Whom), " ", reason(Reason)]);
taken({'EXIT', Pid, Reason}) -> note(["takes exit ", shown(Pid), " ", reason(Reason)]);
taken({'$gen_call', From, {ask, Text}}) -> put(owed, get(owed) ++ [From]), note(["takes call ", Text]).

response(Label, Wait) ->
    case get({request, Label}) of
        undefined -> ok;
        Request ->
            note(["answer ", Label, " ",
                  case Wait(Request, 0) of
                      {reply, Text} -> erase({request, Label}), Text;
                      timeout -> "timeout";
                      {error, {Reason, _}} -> erase({request, Label}), "died " ++ reason(Reason)
                  end])
    end.
