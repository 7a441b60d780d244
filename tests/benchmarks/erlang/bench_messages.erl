%% Plain messages between processes.
-module(bench_messages).
-export(['ping-pong'/1, counting/1, 'fan-in'/1, 'thread-ring'/1, big/1, chameneos/1, 'bounded-buffer'/1,
         'selective-receive'/1, 'selective-receive-type'/1,
         'selective-receive-like'/1, 'fork-join-throughput'/1, barber/1]).

'ping-pong'(#{rounds := Rounds}) ->
    Pong = spawn_link(fun pong/0),
    Begin = bench:clock(),
    ping(Pong, Rounds),
    Elapsed = bench:clock() - Begin,
    Pong ! stop,
    Elapsed / Rounds.

ping(_Pong, 0) -> ok;
ping(Pong, Rounds) ->
    Pong ! {ping, self()},
    receive pong -> ping(Pong, Rounds - 1) end.

pong() ->
    receive
        {ping, From} -> From ! pong, pong();
        stop -> ok
    end.

counting(#{messages := Messages}) ->
    Counter = spawn_link(fun() -> count(0) end),
    Begin = bench:clock(),
    bench:each(Messages, fun(_) -> Counter ! increment end),
    Counter ! {get, self()},
    receive {count, Messages} -> ok end,
    (bench:clock() - Begin) / Messages.

count(Total) ->
    receive
        increment -> count(Total + 1);
        {get, From} -> From ! {count, Total}
    end.

'fan-in'(#{messages := Messages, producers := Producers}) ->
    Self = self(),
    Each = Messages div Producers,
    Sink = spawn_link(fun() -> sink(Each * Producers), Self ! finished end),
    Pids = [spawn_link(fun() -> receive go -> bench:each(Each, fun(_) -> Sink ! increment end) end end)
            || _ <- lists:seq(1, Producers)],
    Begin = bench:clock(),
    [Pid ! go || Pid <- Pids],
    receive finished -> ok end,
    (bench:clock() - Begin) / (Each * Producers).

sink(0) -> ok;
sink(Left) -> receive increment -> sink(Left - 1) end.

'thread-ring'(#{processes := Processes, hops := Hops}) ->
    Self = self(),
    Last = spawn_link(fun() -> receive {next, Next} -> node(Next, Self) end end),
    First = ring(Processes - 1, Last, Self),
    Last ! {next, First},
    Begin = bench:clock(),
    First ! Hops,
    receive finished -> ok end,
    Elapsed = bench:clock() - Begin,
    First ! {stop, Processes},
    Elapsed / Hops.

ring(0, Next, _Parent) -> Next;
ring(Count, Next, Parent) -> ring(Count - 1, spawn_link(fun() -> node(Next, Parent) end), Parent).

node(Next, Parent) ->
    receive
        0 -> Parent ! finished, node(Next, Parent);
        {stop, 1} -> ok;
        {stop, Left} -> Next ! {stop, Left - 1};
        Hops -> Next ! Hops - 1, node(Next, Parent)
    end.

'fork-join-throughput'(#{processes := Processes, messages := Messages}) ->
    Self = self(),
    Pids = [spawn_link(fun() -> sink(Messages), Self ! finished end) || _ <- lists:seq(1, Processes)],
    Begin = bench:clock(),
    bench:each(Messages, fun(_) -> [Pid ! increment || Pid <- Pids] end),
    bench:collect(Processes, finished),
    (bench:clock() - Begin) / (Processes * Messages).

%% Every worker pings random others, waits for the pong before the next ping, and answers the others' pings.
big(#{workers := Workers, pings := Pings}) ->
    Self = self(),
    Pids = [spawn_link(fun() -> receive {all, All} -> big_worker(All, Workers, Seed, Pings, Self) end end)
            || Seed <- lists:seq(1, Workers)],
    All = list_to_tuple(Pids),
    Begin = bench:clock(),
    [Pid ! {all, All} || Pid <- Pids],
    bench:collect(Workers, finished),
    Elapsed = bench:clock() - Begin,
    [Pid ! stop || Pid <- Pids],
    Elapsed / (Workers * Pings).

big_worker(All, Workers, Seed, Pings, Parent) ->
    big_loop(All, Workers, big_ping(All, Workers, Seed), Pings, Parent).

big_ping(All, Workers, State) ->
    Next = bench:scramble(State),
    element((Next bsr 8) rem Workers + 1, All) ! {ping, self()},
    Next.

big_loop(All, Workers, State, Pings, Parent) ->
    receive
        {ping, From} -> From ! pong, big_loop(All, Workers, State, Pings, Parent);
        pong when Pings =:= 1 -> Parent ! finished, big_loop(All, Workers, State, 0, Parent);
        pong -> big_loop(All, Workers, big_ping(All, Workers, State), Pings - 1, Parent);
        stop -> ok
    end.

%% Creatures meet in pairs at a mall; the mall hands the second's request to the first, the first tells the second.
chameneos(#{creatures := Creatures, meetings := Meetings}) ->
    Self = self(),
    Begin = bench:clock(),
    Mall = spawn_link(fun() -> mall(Meetings, Creatures, none, Self) end),
    [spawn_link(fun() -> Mall ! {meet, self(), Colour rem 3}, creature(Mall, Colour rem 3, 0) end)
     || Colour <- lists:seq(1, Creatures)],
    Expected = 2 * Meetings,
    receive {met, Expected} -> ok end,
    (bench:clock() - Begin) / Meetings.

mall(0, Creatures, none, Parent) ->
    Parent ! {met, lists:sum([receive {meet, Pid, _} -> Pid ! {leave, self()}, receive {left, N} -> N end end
                              || _ <- lists:seq(1, Creatures)])};
mall(Meetings, Creatures, none, Parent) ->
    receive {meet, Pid, _Colour} -> mall(Meetings, Creatures, Pid, Parent) end;
mall(Meetings, Creatures, First, Parent) ->
    receive {meet, Pid, Colour} -> First ! {partner, Pid, Colour}, mall(Meetings - 1, Creatures, none, Parent) end.

creature(Mall, Colour, Met) ->
    receive
        {partner, Other, Theirs} ->
            New = complement(Colour, Theirs),
            Other ! {change, New},
            Mall ! {meet, self(), New},
            creature(Mall, New, Met + 1);
        {change, New} ->
            Mall ! {meet, self(), New},
            creature(Mall, New, Met + 1);
        {leave, From} -> From ! {left, Met}
    end.

complement(Same, Same) -> Same;
complement(One, Other) -> 3 - One - Other.

%% A manager between producers and consumers; a producer is told to go on only while there is room.
'bounded-buffer'(#{size := Size, producers := Producers, consumers := Consumers, items := Items}) ->
    Total = Producers * Items,
    Begin = bench:clock(),
    Manager = self(),
    Ps = [spawn_link(fun() -> producer(Manager, Items) end) || _ <- lists:seq(1, Producers)],
    Cs = [spawn_link(fun() -> consumer(Manager) end) || _ <- lists:seq(1, Consumers)],
    [P ! produce || P <- Ps],
    manage(Size, queue:new(), 0, queue:new(), queue:from_list(Cs), Total),
    [C ! stop || C <- Cs],
    (bench:clock() - Begin) / Total.

manage(_Size, _Items, _Held, _Waiting, _Idle, 0) -> ok;
manage(Size, Items, Held, Waiting, Idle, Left) ->
    receive
        {item, Item, Producer} ->
            case queue:out(Idle) of
                {{value, Consumer}, Rest} ->
                    Consumer ! {item, Item},
                    Producer ! produce,
                    manage(Size, Items, Held, Waiting, Rest, Left);
                {empty, _} when Held + 1 < Size ->
                    Producer ! produce,
                    manage(Size, queue:in(Item, Items), Held + 1, Waiting, Idle, Left);
                {empty, _} ->
                    manage(Size, queue:in(Item, Items), Held + 1, queue:in(Producer, Waiting), Idle, Left)
            end;
        {consumed, Consumer} ->
            case queue:out(Items) of
                {{value, Item}, Rest} ->
                    Consumer ! {item, Item},
                    case queue:out(Waiting) of
                        {{value, Producer}, Others} ->
                            Producer ! produce,
                            manage(Size, Rest, Held - 1, Others, Idle, Left - 1);
                        {empty, _} -> manage(Size, Rest, Held - 1, Waiting, Idle, Left - 1)
                    end;
                {empty, _} -> manage(Size, Items, Held, Waiting, queue:in(Consumer, Idle), Left - 1)
            end
    end.

producer(_Manager, 0) -> ok;
producer(Manager, Left) ->
    receive produce -> Manager ! {item, Left, self()}, producer(Manager, Left - 1) end.

consumer(Manager) ->
    receive
        {item, _Item} -> Manager ! {consumed, self()}, consumer(Manager);
        stop -> ok
    end.

%% This process is the street: it makes the customers; those who find the room full wait here until somebody
%% has left.
barber(#{size := Size, customers := Count}) ->
    Self = self(),
    Barber = spawn_link(fun cut/0),
    Room = spawn_link(fun() -> seat(Size, Barber, queue:new(), 0, true) end),
    Begin = bench:clock(),
    [Room ! {enter, spawn_link(fun() -> customer(Self) end), Self} || _ <- lists:seq(1, Count)],
    street(Count, Room, queue:new()),
    Elapsed = bench:clock() - Begin,
    [Pid ! stop || Pid <- [Barber, Room]],
    Elapsed / Count.

street(0, _Room, _Outside) -> ok;
street(Left, Room, Outside) ->
    receive
        {full, Customer} -> street(Left, Room, queue:in(Customer, Outside));
        done ->
            case queue:out(Outside) of
                {{value, Customer}, Rest} ->
                    Room ! {enter, Customer, self()},
                    street(Left - 1, Room, Rest);
                {empty, _} -> street(Left - 1, Room, Outside)
            end
    end.

customer(Street) -> receive cut -> Street ! done end.

cut() ->
    receive
        {Customer, Room} -> Customer ! cut, Room ! next, cut();
        stop -> ok
    end.

seat(Size, Barber, Seated, Size, Asleep) ->
    receive
        {enter, Customer, Street} ->
            Street ! {full, Customer},
            seat(Size, Barber, Seated, Size, Asleep);
        next -> admit(Size, Barber, Seated, Size);
        stop -> ok
    end;
seat(Size, Barber, Seated, Count, Asleep) ->
    receive
        {enter, Customer, _Street} when Asleep -> admit(Size, Barber, queue:in(Customer, Seated), Count + 1);
        {enter, Customer, _Street} -> seat(Size, Barber, queue:in(Customer, Seated), Count + 1, false);
        next -> admit(Size, Barber, Seated, Count);
        stop -> ok
    end.

admit(Size, Barber, Seated, 0) -> seat(Size, Barber, Seated, 0, true);
admit(Size, Barber, Seated, Count) ->
    {{value, Customer}, Rest} = queue:out(Seated),
    Barber ! {Customer, self()},
    seat(Size, Barber, Rest, Count - 1, false).

%% Take the newest message past all the older ones that do not match.
'selective-receive'(#{queued := Queued, receives := Receives}) ->
    bench:each(Queued, fun(Number) -> self() ! {other, Number} end),
    Begin = bench:clock(),
    bench:each(Receives, fun(Number) -> self() ! {wanted, Number}, receive {wanted, Number} -> ok end end),
    (bench:clock() - Begin) / Receives.

'selective-receive-type'(Parameters) -> 'selective-receive'(Parameters).

'selective-receive-like'(Parameters) -> 'selective-receive'(Parameters).
