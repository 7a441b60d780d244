%% Runs scripted state machines on stdlib's gen_statem and prints what happened; machine.py describes the language.
-module(machine_oracle).
-export([main/1, init/1, callback_mode/0, handle_event/4, terminate/3]).

main([File, Unit]) ->
    {ok, Text} = file:read_file(File),
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    persistent_term:put(unit, list_to_integer(Unit)),
    ets:new(machine, [named_table, public, ordered_set]),
    Lines = [string:lexemes(Line, " ") || Line <- string:lexemes(binary_to_list(Text), "\n")],
    run(Lines, none),
    halt(0).

run([], Machine) -> clean(Machine);
run([["real_time"] | Rest], Machine) ->
    ets:insert(machine, {timed, true}),
    run(Rest, Machine);
run([["scenario", Name] | Rest], Machine) ->
    clean(Machine),
    ets:delete_all_objects(machine),
    io:format("scenario ~s~n", [Name]),
    run(Rest, none);
run([["state", State, Units] | Rest], Machine) ->
    ets:insert(machine, {{lasts, State}, list_to_integer(Units)}),
    run(Rest, Machine);
run([["on", State, Event | Actions] | Rest], Machine) ->
    ets:insert(machine, {{on, State, Event}, Actions}),
    run(Rest, Machine);
run([["boot", State] | Rest], none) ->
    ets:insert(machine, [{start, erlang:monotonic_time(millisecond)}, {now, 0}]),
    {ok, Machine} = gen_statem:start(?MODULE, State, []),
    report(["boot", State], Machine),
    run(Rest, Machine);
run([["wait", Units] = Command | Rest], Machine) ->
    Now = ets:update_counter(machine, now, list_to_integer(Units)),
    Moment = moment(Now),
    timer:sleep(max(0, Moment - erlang:monotonic_time(millisecond))),
    report(Command, Machine),
    run(Rest, Machine);
run([["events" | Events] = Command | Rest], Machine) ->
    %% All of them are in the mailbox before the first is handled.
    catch sys:suspend(Machine),
    [put_event(string:lexemes(Event, ":"), Machine) || Event <- Events],
    catch sys:resume(Machine),
    report(Command, Machine),
    run(Rest, Machine).

moment(Units) -> ets:lookup_element(machine, start, 2) + Units * persistent_term:get(unit).

%% A command that takes more than a tenth of a unit may find other timers run out than it would in no time.
check_time() ->
    Late = erlang:monotonic_time(millisecond) - moment(ets:lookup_element(machine, now, 2)),
    case ets:member(machine, timed) andalso 10 * Late > persistent_term:get(unit) of
        true -> io:format("late~n");
        false -> ok
    end.

put_event(["cast", Event], Machine) -> gen_statem:cast(Machine, {event, Event});
put_event(["send", Event], Machine) -> Machine ! {event, Event};
put_event(["call", Event, Label], Machine) ->
    Driver = self(),
    spawn(fun() ->
                  Request = gen_statem:send_request(Machine, {event, Event}),
                  Driver ! {sent, Label},
                  Answer = case gen_statem:receive_response(Request, infinity) of
                               {reply, Reply} -> Reply;
                               {error, {Reason, _}} -> "died " ++ reason(Reason)
                           end,
                  ets:insert(machine, {{answer, Label}, Label ++ "=" ++ Answer})
          end),
    receive {sent, Label} -> ok end.

reason(Reason) when is_atom(Reason) -> atom_to_list(Reason);
reason({Reason, _}) when is_atom(Reason) -> atom_to_list(Reason).

clean(none) -> ok;
clean(Machine) ->
    Monitor = monitor(process, Machine),
    exit(Machine, kill),
    receive {'DOWN', Monitor, process, _, _} -> ok end.

report(Command, Machine) ->
    settle(Machine, -1, 0),
    check_time(),
    Events = [Text || {_, Text} <- lists:sort([{Key, Text} || {{event, Key}, Text} <- ets:tab2list(machine)])],
    Answers = lists:sort([Text || {{answer, _}, Text} <- ets:tab2list(machine)]),
    ets:match_delete(machine, {{event, '_'}, '_'}),
    ets:match_delete(machine, {{answer, '_'}, '_'}),
    io:format("~s | ~s | ~s~n", [lists:join(" ", Command), lists:join(", ", Events), lists:join(", ", Answers)]).

%% Until nothing new happens in three rounds, in each of which the machine had its turn.
settle(_, _, 3) -> ok;
settle(Machine, Size, Quiet) ->
    catch sys:get_state(Machine),
    [erlang:yield() || _ <- lists:seq(1, 20)],
    case ets:info(machine, size) of
        Size -> settle(Machine, Size, Quiet + 1);
        Other -> settle(Machine, Other, 0)
    end.

log(Text) ->
    Key = ets:update_counter(machine, clock, 1, {clock, 0}),
    ets:insert(machine, {{event, Key}, Text}).

%% The machine. Its data are the calls that it has yet to answer, oldest first.

callback_mode() -> [handle_event_function, state_enter].

init(State) -> {ok, State, []}.

handle_event(enter, _, State, _) ->
    log("enter " ++ State),
    case ets:lookup(machine, {lasts, State}) of
        [{_, Units}] -> {keep_state_and_data, [{state_timeout, time(Units, 50), lasted}]};
        [] -> keep_state_and_data
    end;
handle_event(Type, Content, State, Owed) ->
    Event = case {Type, Content} of
                {state_timeout, lasted} -> "lasted";
                {timeout, idle} -> "idle";
                {{timeout, Key}, _} -> Key;
                {internal, Inserted} -> Inserted;
                {_, {event, Given}} -> Given
            end,
    log(State ++ " " ++ Event),
    Actions = case ets:lookup(machine, {on, State, Event}) of
                  [{_, Found}] -> Found;
                  [] -> []
              end,
    From = case Type of {call, Caller} -> Caller; _ -> none end,
    act(Actions, State ++ "." ++ Event, From, State, keep, [], Owed).

time(Units, Share) -> (Units * 100 - Share) * persistent_term:get(unit) div 100.

act(["next", To | Rest], Name, From, State, _, Done, Owed) -> act(Rest, Name, From, State, {next, To}, Done, Owed);
act(["stop", Reason | Rest], Name, From, State, _, Done, Owed) ->
    act(Rest, Name, From, State, {stop, list_to_atom(Reason)}, Done, Owed);
act(["crash" | _], _, _, _, _, _, _) -> error(crash);
act(["postpone" | Rest], Name, _, State, Then, Done, Owed) -> act(Rest, Name, none, State, Then, [postpone | Done], Owed);
act(["owe" | Rest], Name, From, State, Then, Done, Owed) -> act(Rest, Name, none, State, Then, Done, Owed ++ [F || F <- [From], F =/= none]);
act(["pay" | Rest], Name, From, State, Then, Done, [First | Owed]) ->
    act(Rest, Name, From, State, Then, [{reply, First, Name} | Done], Owed);
act(["pay" | Rest], Name, From, State, Then, Done, []) -> act(Rest, Name, From, State, Then, Done, []);
act(["insert", Event | Rest], Name, From, State, Then, Done, Owed) ->
    act(Rest, Name, From, State, Then, [{next_event, internal, Event} | Done], Owed);
act(["timer", Key, Units | Rest], Name, From, State, Then, Done, Owed) ->
    Share = case Key of "red" -> 15; "blue" -> 80 end,
    act(Rest, Name, From, State, Then, [{{timeout, Key}, time(list_to_integer(Units), Share), Key} | Done], Owed);
act(["cancel", Key | Rest], Name, From, State, Then, Done, Owed) ->
    act(Rest, Name, From, State, Then, [{{timeout, Key}, cancel} | Done], Owed);
act(["idle", Units | Rest], Name, From, State, Then, Done, Owed) ->
    act(Rest, Name, From, State, Then, [{timeout, time(list_to_integer(Units), 35), idle} | Done], Owed);
act([], Name, From, _, Then, Done, Owed) ->
    Replies = [{reply, From, Name} || From =/= none],
    Actions = lists:reverse(Done) ++ Replies,
    case Then of
        keep -> {keep_state, Owed, Actions};
        {next, To} -> {next_state, To, Owed, Actions};
        {stop, Reason} -> {stop_and_reply, Reason, [A || {reply, _, _} = A <- Actions], Owed}
    end.

terminate(Reason, State, _) -> log("stop " ++ State ++ " " ++ reason(Reason)).
