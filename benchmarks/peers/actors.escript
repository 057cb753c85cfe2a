#!/usr/bin/env escript
%%! +P 1000000
%% The workloads of ring.py, idle.py, links.py and messages.py; each prints a JSON object.
-mode(compile).

main([Workload | Numbers]) ->
    print(run(Workload, [list_to_integer(Each) || Each <- Numbers])).

print({Name, Value}) -> io:format("{\"~s\": ~w}~n", [Name, float(Value)]);
print([{A, X}, {B, Y}]) -> io:format("{\"~s\": ~w, \"~s\": ~w}~n", [A, float(X), B, float(Y)]).

seconds(F) ->
    Begin = erlang:monotonic_time(nanosecond),
    F(),
    (erlang:monotonic_time(nanosecond) - Begin) / 1.0e9.

%% Messages/s: a number goes round, one less each time.
run("ring", [Members, Hops]) ->
    Self = self(),
    First = lists:foldl(
        fun(_, Next) -> spawn_link(fun() -> member(Next, Self) end) end, self(), lists:seq(2, Members)
    ),
    pass(First, Hops div 10),
    {"messages", Hops / seconds(fun() -> pass(First, Hops) end)};
%% Processes/s, and the bytes of each while it waits.
run("spawn", [Count]) ->
    Before = erlang:memory(processes),
    {Seconds, Pids} = timer:tc(fun() -> [spawn(fun idle/0) || _ <- lists:seq(1, Count)] end),
    Bytes = (erlang:memory(processes) - Before) / length(Pids),
    [{"spawned", Count / (Seconds / 1.0e6)}, {"bytes", Bytes}];
%% Milliseconds from the crash of a process to all that are linked with it knowing.
run("crash", [Peers, Times]) ->
    logger:set_primary_config(level, none),
    {"ms", lists:sum([crash(Peers) || _ <- lists:seq(1, Times)]) / Times};
%% Milliseconds for a message to each and an answer from each.
run("fan", [Count]) ->
    Self = self(),
    Pids = [spawn_link(fun() -> leaf(Self) end) || _ <- lists:seq(1, Count)],
    News = #{title => <<"a message of some size">>, tags => [<<"a">>, <<"b">>], at => 1.5},
    fan(Pids, News),
    {"ms", 1.0e3 * seconds(fun() -> fan(Pids, News) end)}.

pass(_, 0) -> ok;
pass(First, Hops) ->
    First ! Hops - 1,
    receive Left -> pass(First, Left) end.

%% Who gets 0 says so to the head, whoever it is.
member(Next, Head) ->
    receive
        0 -> Head ! 0;
        Hops -> Next ! Hops - 1
    end,
    member(Next, Head).

idle() -> receive stop -> ok end.

crash(Peers) ->
    Self = self(),
    Victim = spawn(fun() -> receive die -> exit(crashed) end end),
    [spawn(fun() -> watch(Victim, Self) end) || _ <- lists:seq(1, Peers)],
    [receive ready -> ok end || _ <- lists:seq(1, Peers)],
    1.0e3 * seconds(fun() ->
        Victim ! die,
        [receive down -> ok end || _ <- lists:seq(1, Peers)]
    end).

watch(Victim, Master) ->
    process_flag(trap_exit, true),
    link(Victim),
    Master ! ready,
    receive {'EXIT', Victim, crashed} -> Master ! down end.

leaf(Master) ->
    receive _ -> Master ! got end,
    leaf(Master).

fan(Pids, News) ->
    [Pid ! News || Pid <- Pids],
    [receive got -> ok end || _ <- Pids].
