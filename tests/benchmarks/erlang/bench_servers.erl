%% gen_server: calls, casts, deferred replies.
-module(bench_servers).
-behaviour(gen_server).
-export([call/1, cast/1, banking/1, 'call-past-queue'/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

call(#{calls := Calls}) ->
    {ok, Server} = gen_server:start_link(?MODULE, 0, []),
    Begin = bench:clock(),
    bench:each(Calls, fun(_) -> gen_server:call(Server, {add, 1}) end),
    Elapsed = bench:clock() - Begin,
    gen_server:stop(Server),
    Elapsed / Calls.

cast(#{casts := Casts}) ->
    {ok, Server} = gen_server:start_link(?MODULE, 0, []),
    Begin = bench:clock(),
    bench:each(Casts, fun(_) -> gen_server:cast(Server, {add, 1}) end),
    Expected = Casts + 1,
    Expected = gen_server:call(Server, {add, 1}, infinity),
    Elapsed = bench:clock() - Begin,
    gen_server:stop(Server),
    Elapsed / Casts.

%% Calls made by a process that has a long queue of other messages.
'call-past-queue'(#{queued := Queued, calls := Calls}) ->
    bench:each(Queued, fun(Number) -> self() ! {other, Number} end),
    call(#{calls => Calls}).

%% Every transfer is a call of the payer, which asks the payee and replies only when the payee has answered.
%% Window transfers are under way at a time.
banking(#{accounts := Accounts, transfers := Transfers, window := Window}) ->
    Pids = [begin {ok, Pid} = gen_server:start_link(?MODULE, 0, []), Pid end || _ <- lists:seq(1, Accounts)],
    All = list_to_tuple(Pids),
    Begin = bench:clock(),
    Late = transfers(min(Window, Transfers), 1, All, Accounts),
    keep_going(Transfers - min(Window, Transfers), Late, All, Accounts),
    replies(min(Window, Transfers)),
    Elapsed = bench:clock() - Begin,
    [gen_server:stop(Pid) || Pid <- Pids],
    Elapsed / Transfers.

transfers(0, State, _All, _Accounts) -> State;
transfers(Left, State, All, Accounts) -> transfers(Left - 1, transfer(State, All, Accounts), All, Accounts).

%% A payer is one of the first nine tenths, a payee one of the rest.
transfer(State, All, Accounts) ->
    One = bench:scramble(State),
    Two = bench:scramble(One),
    Payers = Accounts * 9 div 10,
    Payer = element((One bsr 8) rem Payers + 1, All),
    Payee = element(Payers + (Two bsr 8) rem (Accounts - Payers) + 1, All),
    gen_server:send_request(Payer, {transfer, 1, Payee}),
    Two.

keep_going(0, _State, _All, _Accounts) -> ok;
keep_going(Left, State, All, Accounts) ->
    replies(1),
    keep_going(Left - 1, transfer(State, All, Accounts), All, Accounts).

replies(0) -> ok;
replies(Left) ->
    receive {[alias | Alias], ok} -> erlang:demonitor(Alias, [flush]), replies(Left - 1) end.

init(Value) -> {ok, {Value, #{}}}.

handle_call({add, Number}, _From, {Value, Pending}) -> {reply, Value + Number, {Value + Number, Pending}};
handle_call({transfer, Amount, Payee}, From, {Value, Pending}) ->
    Request = gen_server:send_request(Payee, {deposit, Amount}),
    {noreply, {Value - Amount, Pending#{Request => From}}};
handle_call({deposit, Amount}, _From, {Value, Pending}) -> {reply, ok, {Value + Amount, Pending}}.

handle_cast({add, Number}, {Value, Pending}) -> {noreply, {Value + Number, Pending}}.

handle_info({[alias | Alias], ok}, {Value, Pending}) ->
    erlang:demonitor(Alias, [flush]),
    {From, Rest} = maps:take(Alias, Pending),
    gen_server:reply(From, ok),
    {noreply, {Value, Rest}}.
