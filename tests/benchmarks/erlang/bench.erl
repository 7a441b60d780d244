%% The Erlang side of the harness: warms a kernel up, then runs it once for every line of standard input.
%% Arguments: the kernel's name, then parameters as name=integer. A kernel takes a map of parameters and returns
%% the cost of one operation in seconds or bytes.
-module(bench).
-export([main/0, rehearse/0, clock/0, each/2, collect/2, scramble/1]).

-define(MODULES, [bench_messages, bench_applications, bench_processes, bench_servers, bench_supervision, bench_nodes]).

main() ->
    [Name | Rest] = init:get_plain_arguments(),
    logger:set_primary_config(level, none),
    Kernel = list_to_atom(Name),
    Parameters = maps:from_list([parameter(Text) || Text <- Rest]),
    Module = find(Kernel, ?MODULES),
    os:getenv("BENCH_COLD") =:= false andalso run(Module, Kernel, Parameters),
    io:format("@bench {\"ready\": true}~n"),
    serve(Module, Kernel, Parameters).

%% Run kernels once each: the arguments of main, several times, with commas between.
rehearse() ->
    logger:set_primary_config(level, none),
    rehearse(init:get_plain_arguments()),
    halt().

rehearse([]) -> ok;
rehearse([Name | Arguments]) ->
    {Mine, Rest} = lists:splitwith(fun(Text) -> Text =/= "," end, Arguments),
    Kernel = list_to_atom(Name),
    Cost = run(find(Kernel, ?MODULES), Kernel, maps:from_list([parameter(Text) || Text <- Mine])),
    io:format("@bench {\"kernel\": \"~s\", \"value\": ~s}~n", [Name, text(Cost)]),
    rehearse(case Rest of [","| Others] -> Others; [] -> [] end).

text(Cost) -> float_to_list(float(Cost), [{scientific, 9}]).

parameter(Text) ->
    [Key, Value] = string:split(Text, "="),
    {list_to_atom(Key), list_to_integer(Value)}.

find(Kernel, [Module | Rest]) ->
    {module, Module} = code:ensure_loaded(Module),
    case erlang:function_exported(Module, Kernel, 1) of
        true -> Module;
        false -> find(Kernel, Rest)
    end.

serve(Module, Kernel, Parameters) ->
    case io:get_line("") of
        eof -> halt();
        _Line ->
            io:format("@bench {\"value\": ~s}~n", [text(run(Module, Kernel, Parameters))]),
            serve(Module, Kernel, Parameters)
    end.

%% A fresh process for every run: an empty mailbox and a small heap.
run(Module, Kernel, Parameters) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({cost, Module:Kernel(Parameters)}) end),
    receive
        {'DOWN', Monitor, process, Pid, {cost, Cost}} -> Cost;
        {'DOWN', Monitor, process, Pid, Reason} ->
            io:format(standard_error, "~p~n", [Reason]),
            halt(1)
    end.

%% Seconds, as a float.
clock() -> erlang:monotonic_time(nanosecond) / 1.0e9.

each(0, _Function) -> ok;
each(Count, Function) -> Function(Count), each(Count - 1, Function).

%% Wait for Count messages equal to Message.
collect(0, _Message) -> ok;
collect(Count, Message) -> receive Message -> collect(Count - 1, Message) end.

%% The generator that every peer uses, so that all make the same choices.
scramble(State) -> (State * 1103515245 + 12345) band 16#7FFFFFFF.
