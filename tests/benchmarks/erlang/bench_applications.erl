%% A chat application: clients and chats, which come and go while messages are posted.
-module(bench_applications).
-export(['chat-setup'/1, chat/1]).

'chat-setup'(Parameters) -> element(1, chats(Parameters)).

chat(Parameters) -> element(2, chats(Parameters)).

%% The cost of setting up a client, and that of an action. This process is the conductor.
chats(#{clients := Count, friends := Friends, turns := Turns}) ->
    Begin = bench:clock(),
    Self = self(),
    Clients = [spawn_link(fun() -> client(Seed, Self, [], []) end) || Seed <- lists:seq(1, Count)],
    All = list_to_tuple(Clients),
    [element(Number + 1, All) !
         {meet, [element((Number + K * K + 1) rem Count + 1, All) || K <- lists:seq(1, Friends)]}
     || Number <- lists:seq(0, Count - 1)],
    done(Count),
    Ready = bench:clock(),
    bench:each(Turns, fun(_) -> [Client ! act || Client <- Clients], done(Count) end),
    End = bench:clock(),
    process_flag(trap_exit, true),
    [begin unlink(Client), exit(Client, kill) end || Client <- Clients],
    {(Ready - Begin) / Count, (End - Ready) / (Count * Turns)}.

done(0) -> ok;
done(Left) -> receive {done, Count} -> done(Left - Count) end.

%% Does one thing each turn: of a hundred, 75 are posts, 5 leave a chat, 5 open one, 10 compute.
client(State, Conductor, Friends, Chats) ->
    receive
        {message, Chat} ->
            Chat ! seen,
            client(State, Conductor, Friends, Chats);
        act ->
            {Next, Left} = act(State, Conductor, Friends, Chats),
            client(Next, Conductor, Friends, Left);
        {joined, Chat} ->
            Chat ! present,
            client(State, Conductor, Friends, [Chat | Chats]);
        {meet, Others} ->
            client(State, Conductor, Others, [invite(Conductor, Others) | Chats])
    end.

act(State, Conductor, Friends, Chats) ->
    Chosen = bench:scramble(State),
    Next = bench:scramble(Chosen),
    case (Chosen bsr 8) rem 100 of
        Action when Action < 75, Chats =/= [] ->
            pick(Next, Chats) ! post,
            {Next, Chats};
        Action when Action >= 75, Action < 80, Chats =/= [] ->
            Chat = pick(Next, Chats),
            Chat ! {leave, self()},
            {Next, lists:delete(Chat, Chats)};
        Action when Action >= 80, Action < 85 ->
            {Next, [invite(Conductor, [pick(Next, Friends)]) | Chats]};
        Action ->
            Action >= 85 andalso Action < 95 andalso fibonacci(10),
            Conductor ! {done, 1},
            {Chosen, Chats}
    end.

pick(State, List) -> lists:nth((State bsr 8) rem length(List) + 1, List).

fibonacci(Number) when Number < 2 -> Number;
fibonacci(Number) -> fibonacci(Number - 1) + fibonacci(Number - 2).

invite(Conductor, Friends) ->
    Self = self(),
    Chat = spawn_link(fun() -> chat(Conductor, [Self | Friends], length(Friends), 0, 0) end),
    [Friend ! {joined, Chat} || Friend <- Friends],
    Chat.

%% Hands every post to its members, and tells the conductor when all have seen it.
chat(Conductor, Members, Absent, Unseen, Posts) ->
    receive
        seen when Unseen =:= 1 ->
            Conductor ! {done, Posts},
            chat(Conductor, Members, Absent, 0, 0);
        seen ->
            chat(Conductor, Members, Absent, Unseen - 1, Posts);
        post ->
            [Member ! {message, self()} || Member <- Members],
            chat(Conductor, Members, Absent, Unseen + length(Members), Posts + 1);
        present ->
            Absent =:= 1 andalso (Conductor ! {done, 1}),
            chat(Conductor, Members, Absent - 1, Unseen, Posts);
        {leave, Client} ->
            Conductor ! {done, 1},
            case lists:delete(Client, Members) of
                [] -> ok;
                Left -> chat(Conductor, Left, Absent, Unseen, Posts)
            end
    end.
