%% One link's session: a process that keeps its streams while sockets come and go under it.
%%
%%   state      has a socket   an event                          then
%%   detached   no             a socket with a greater epoch     attached: sends again what was not acknowledged
%%                             the grace time is over            ends: every client's connection is lost
%%   attached   yes            the socket breaks, or 15 s pass   detached, if the edge keeps its side too; else ends
%%                             without a byte
%%                             a rule of the protocol is broken  ends, with a SHUTDOWN that names the frame
%%                             SHUTDOWN of id 0, ejabberd stops  ends
%%
%% Frames leave in batches: while messages wait they are taken in first, then one batch is composed of all that is to be
%% said, and given to the writer. What arises while that is under way waits for the next batch.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_session).
-behaviour(gen_server).

-include("logger.hrl").

-export([start_link/2, attach/2, drain/1, info/1, streams/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(RETAINED_LIMIT_BYTES, 4194304).
%% Frames without data are never held back, so they may go beyond the limit: this far, beside 64 bytes for each stream.
-define(RETAINED_SPARE_BYTES, 1048576).
-define(ACKNOWLEDGE_BYTES, 65536).
-define(BATCH_BYTES, 65536).
-define(ANSWERS_LIMIT_BYTES, 262144).
-define(POSTPONED_LIMIT, 64).
-define(TICK_MILLISECONDS, 1000).
%% Garbage of idle clients' processes: how many are collected in each step, and how many while the node has much to do.
-define(COLLECT_MILLISECONDS, 100).
-define(COLLECTED, 50).
-define(COLLECTED_UNDER_LOAD, 35).
-define(LOAD_PER_SCHEDULER, 16).
%% Our own: after so much traffic, or after as much as the streams' records take, whichever is more; less when it is over.
-define(OWN_GARBAGE_BYTES, 1048576).
-define(OWN_GARBAGE_BYTES_PER_STREAM, 1024).
-define(QUIET_BYTES, 65536).
-define(PING_MILLISECONDS, 5000).
-define(SILENCE_MILLISECONDS, 15000).
-define(FIRST_ATTACH_MILLISECONDS, 10000).
-define(INFO_MILLISECONDS, 5000).
-define(SETTLE_MILLISECONDS, 2000).
-define(LAST_WORDS_MILLISECONDS, 2500).
-define(FEATURE_GOES_ON, 1).
-define(FEATURES_KNOWN, 3).

-record(state, {id :: <<_:128>>,
                options :: map(),
                name = <<>> :: binary(),
                epoch = 0 :: non_neg_integer(),
                window = 0 :: non_neg_integer(),
                features = 0 :: non_neg_integer(),
                transport :: ejabberd_megaphone_transport:transport() | undefined,
                peer = <<>> :: binary(),
                writer :: pid() | undefined,
                writing = false :: boolean(),
                grace :: reference() | undefined,
                %% from the edge
                buffer = <<>> :: binary(),
                deaf = false :: boolean(),
                received = 0 :: non_neg_integer(),
                told = 0 :: non_neg_integer(),
                heard_at = 0 :: integer(),
                %% to the edge
                retained :: ejabberd_megaphone_retained:retained() | undefined,
                streams :: ejabberd_megaphone_streams:streams() | undefined,
                postponed = 0 :: non_neg_integer(),
                pinged_at = 0 :: integer(),
                round_trip_microseconds :: non_neg_integer() | undefined,
                %% garbage: a step is on its way; bytes of both directions at the last tick, and when ours was collected
                collecting = false :: boolean(),
                carried = 0 :: non_neg_integer(),
                carried_collected = 0 :: non_neg_integer()}).

-type arrival() :: #{transport := ejabberd_megaphone_transport:transport(), hello := ejabberd_megaphone_frame:hello(),
                     challenge := binary(), secret := binary()}.

-export_type([arrival/0]).

-spec start_link(<<_:128>>, map()) -> {ok, pid()} | {error, term()}.
start_link(Id, Options) ->
    gen_server:start_link(?MODULE, {Id, Options},
                          [{spawn_opt, [{message_queue_data, off_heap}, {fullsweep_after, 20}]}]).

%% A socket whose HELLO is proven; the session must own it already.
-spec attach(pid(), arrival()) -> ok.
attach(Session, Arrival) -> gen_server:cast(Session, {attach, Arrival}).

-spec drain(pid()) -> ok.
drain(Session) -> gen_server:cast(Session, drain).

-spec info(pid()) -> map().
info(Session) -> gen_server:call(Session, info, ?INFO_MILLISECONDS).

-spec streams(pid()) -> list().
streams(Session) -> gen_server:call(Session, streams, ?INFO_MILLISECONDS).

init({Id, Options}) ->
    process_flag(trap_exit, true),
    erlang:send_after(?TICK_MILLISECONDS, self(), tick),
    State = #state{id = Id, options = Options},
    {ok, start_grace(?FIRST_ATTACH_MILLISECONDS, State)}.

%% Messages

handle_info({send, Id, Serial, Data}, #state{streams = Streams} = State) ->
    proceed(State#state{streams = ejabberd_megaphone_streams:send(Id, Serial, Data, Streams)});
handle_info({activate, Id, Serial}, #state{streams = Streams} = State) ->
    proceed(State#state{streams = ejabberd_megaphone_streams:activate(Id, Serial, Streams)});
handle_info({written, Writer}, #state{writer = Writer} = State) ->
    written(flush(State#state{writing = false}));
handle_info({close, Id, Serial}, #state{streams = Streams} = State) ->
    proceed(State#state{streams = ejabberd_megaphone_streams:close(Id, Serial, Streams)});
handle_info({wait_for_room, Id, Serial, Waiter}, #state{streams = Streams} = State) ->
    proceed(State#state{streams = ejabberd_megaphone_streams:wait_for_room(Id, Serial, Waiter, Streams)});
handle_info({overrun, Id, Serial}, #state{streams = Streams} = State) ->
    proceed(State#state{streams = ejabberd_megaphone_streams:overrun(Id, Serial, Streams)});
handle_info({{client_down, Id, Serial}, _, process, _, Why}, #state{streams = Streams} = State) ->
    proceed(State#state{streams = ejabberd_megaphone_streams:client_down(Id, Serial, Why, Streams)});
handle_info(timeout, State) ->
    flush(State);
handle_info(tick, State) ->
    erlang:send_after(?TICK_MILLISECONDS, self(), tick),
    tick(erlang:monotonic_time(millisecond), State);
handle_info(collect, State) ->
    collect_idle(erlang:monotonic_time(millisecond), State#state{collecting = false});
handle_info({garbage_collect, {first, Client}, true}, State) ->
    ejabberd_megaphone_socket:collect_garbage(second, Client),
    proceed(State);
handle_info({garbage_collect, _, _}, State) ->
    proceed(State);
handle_info({'EXIT', Writer, _}, #state{writer = Writer} = State) ->
    detach(closed, State);
handle_info({timeout, Timer, grace}, #state{grace = Timer} = State) ->
    {stop, normal, say_ended("the edge did not come back in the grace time", State)};
handle_info(Message, #state{transport = Transport} = State) when Transport =/= undefined ->
    case ejabberd_megaphone_transport:message(Transport, Message) of
        {data, Data} ->
            take_in(join(State#state.buffer, Data), State#state{heard_at = erlang:monotonic_time(millisecond)});
        {closed, Reason} -> detach(Reason, State);
        other -> proceed(State)
    end;
handle_info(_, State) ->
    %% What an earlier socket or writer has left behind.
    proceed(State).

handle_cast({attach, Arrival}, State) ->
    attached(Arrival, State);
handle_cast(drain, #state{streams = undefined} = State) ->
    {noreply, State};
handle_cast(drain, #state{streams = Streams} = State) ->
    Draining = ejabberd_megaphone_streams:refuse_new(Streams),
    proceed(State#state{streams = ejabberd_megaphone_streams:control(ejabberd_megaphone_frame:drain(), Draining)}).

handle_call(info, _, State) ->
    {reply, describe(State), State, 0};
handle_call(streams, _, #state{streams = undefined} = State) ->
    {reply, [], State};
handle_call(streams, _, #state{streams = Streams} = State) ->
    {reply, ejabberd_megaphone_streams:list(Streams), State, 0}.

terminate(Reason, State) ->
    #state{transport = Transport, writer = Writer, streams = Streams} = Settled = settle(Reason, State),
    {Frames, _} = case Streams of
                      undefined -> {[], undefined};
                      _ -> ejabberd_megaphone_streams:compose(data_budget(Settled), Streams)
                  end,
    Streams =:= undefined orelse ejabberd_megaphone_streams:end_all(Streams),
    case Transport of
        undefined ->
            ok;
        _ when Reason =:= normal ->
            ejabberd_megaphone_transport:close(Transport);
        _ ->
            Why = case Reason of
                      shutdown -> 'system-shutdown';
                      _ -> 'internal-error'
                  end,
            Monitor = erlang:monitor(process, Writer),
            last_words([Frames, ejabberd_megaphone_frame:shutdown(0, 0, Why, <<>>)], Settled),
            receive {'DOWN', Monitor, process, Writer, _} -> ok after ?LAST_WORDS_MILLISECONDS -> ok end
    end.

%% When ejabberd stops it asks the clients' processes to end, and does not wait for them. What they still have to say is
%% to reach the edge: so go on until all have closed, but not for long.
settle(shutdown, #state{transport = Transport, streams = Streams} = State) when Transport =/= undefined ->
    case ejabberd_megaphone_streams:is_draining(Streams) of
        true -> settle_until(erlang:monotonic_time(millisecond) + ?SETTLE_MILLISECONDS, State);
        false -> State
    end;
settle(_, State) ->
    State.

settle_until(Deadline, #state{streams = Streams, transport = Transport} = State) ->
    Left = Deadline - erlang:monotonic_time(millisecond),
    case Left > 0 andalso Transport =/= undefined andalso ejabberd_megaphone_streams:has_clients(Streams) of
        false -> State;
        true ->
            receive
                Message when element(1, Message) =/= '$gen_call', element(1, Message) =/= '$gen_cast' ->
                    case handle_info(Message, State) of
                        {noreply, Next} -> settle_until(Deadline, Next);
                        {noreply, Next, 0} -> settle_flushing(Deadline, Next);
                        {stop, _, Next} -> Next
                    end
            after Left ->
                State
            end
    end.

settle_flushing(Deadline, State) ->
    case flush(State) of
        {noreply, Next} -> settle_until(Deadline, Next);
        {stop, _, Next} -> Next
    end.

%% Attaching

attached(#{transport := Transport, hello := #{epoch := Epoch}}, #state{epoch = Last} = State) when Epoch =< Last ->
    Text = io_lib:format("epoch ~B is not greater than ~B", [Epoch, Last]),
    spawn_refusal(Transport, ejabberd_megaphone_frame:shutdown(0, 0, 'stale-epoch', Text)),
    proceed(State);
attached(#{hello := Hello} = Arrival, State) ->
    case goes_on(Hello, State) of
        {ok, Retained} ->
            Free = let_go(State#state{retained = Retained}),
            welcome(true, ejabberd_megaphone_retained:missing(Retained), Arrival, Free);
        error ->
            State#state.streams =:= undefined orelse ejabberd_megaphone_streams:end_all(State#state.streams),
            welcome(false, [], Arrival, begin_anew(Hello, let_go(State)))
    end.

%% Whether the session continues with this HELLO, and then with what retained.
goes_on(_, #state{streams = undefined}) ->
    error;
goes_on(#{received := Received, features := Features, window := Window},
        #state{retained = Retained, features = Before, window = Window})
  when Features band Before band ?FEATURE_GOES_ON =/= 0 ->
    ejabberd_megaphone_retained:resume(Received, Retained);
goes_on(_, _) ->
    error.

begin_anew(#{features := Asked, window := Window}, #state{options = Options} = State) ->
    Features = Asked band ?FEATURES_KNOWN,
    State#state{features = Features, window = Window, received = 0, told = 0, postponed = 0,
                carried = 0, carried_collected = 0, round_trip_microseconds = undefined,
                retained = ejabberd_megaphone_retained:new(Features band ?FEATURE_GOES_ON =/= 0),
                streams = ejabberd_megaphone_streams:new(#{edge_window => Window, options => Options})}.

welcome(GoesOn, Missing, #{transport := Transport, challenge := Challenge, secret := Secret, hello := Hello},
        #state{options = #{window := Window, max_streams := Streams, grace := Grace}} = State) ->
    #{epoch := Epoch, payload := Payload, name := Name} = Hello,
    Prove = fun(Welcome) -> ejabberd_megaphone_frame:server_proof(Secret, Challenge, Payload, Welcome) end,
    Frame = ejabberd_megaphone_frame:welcome(#{goes_on => GoesOn, features => State#state.features, epoch => Epoch,
                                               received => State#state.received, window => Window,
                                               streams => Streams, grace_seconds => Grace div 1000,
                                               proof => Prove}),
    Writer = ejabberd_megaphone_transport:start_writer(Transport),
    ejabberd_megaphone_transport:write(Writer, [Frame | Missing]),
    Now = erlang:monotonic_time(millisecond),
    Peer = ejabberd_megaphone_transport:peer(Transport),
    Next = State#state{epoch = Epoch, name = printable(Name), transport = Transport, peer = Peer, writer = Writer,
                       writing = true, buffer = <<>>, told = State#state.received, heard_at = Now, pinged_at = Now},
    ?INFO_MSG("Link ~ts from ~ts: ~ts, epoch ~B",
              [Next#state.name, Peer, case GoesOn of true -> "goes on"; false -> "begins" end, Epoch]),
    case ejabberd_megaphone_transport:activate(Transport) of
        ok -> proceed(Next);
        {error, Reason} -> detach(Reason, Next)
    end.

%% A name is for people, and must not break what shows it to them.
printable(Text) ->
    unicode:characters_to_binary([case C >= 32 andalso C =/= 127 of true -> C; false -> $? end
                                  || C <- unicode:characters_to_list(Text)]).

%% Detaching

detach(Reason, #state{features = Features, options = #{grace := Grace}} = State) ->
    Free = let_go(State),
    case Features band ?FEATURE_GOES_ON of
        0 ->
            {stop, normal, say_ended(io_lib:format("its socket broke: ~0p", [Reason]), Free)};
        _ ->
            ?WARNING_MSG("Link ~ts from ~ts: its socket broke (~0p), waiting ~B s for a new one",
                         [Free#state.name, Free#state.peer, Reason, Grace div 1000]),
            {noreply, start_grace(Grace, Free)}
    end.

%% Close the socket under the session, if there is one.
let_go(#state{transport = undefined} = State) ->
    stop_grace(State);
let_go(#state{transport = Transport, writer = Writer} = State) ->
    unlink(Writer),
    exit(Writer, kill),
    ejabberd_megaphone_transport:close(Transport),
    stop_grace(State#state{transport = undefined, writer = undefined, writing = false, deaf = false,
                           buffer = <<>>}).

start_grace(Milliseconds, State) ->
    State#state{grace = erlang:start_timer(Milliseconds, self(), grace)}.

stop_grace(#state{grace = undefined} = State) -> State;
stop_grace(#state{grace = Timer} = State) ->
    _ = erlang:cancel_timer(Timer),
    State#state{grace = undefined}.

say_ended(Why, #state{name = Name, streams = Streams} = State) ->
    Count = case Streams of
                undefined -> 0;
                _ -> maps:get(streams, ejabberd_megaphone_streams:count(Streams))
            end,
    ?WARNING_MSG("Link ~ts ended with ~B streams: ~ts", [Name, Count, Why]),
    State.

%% What waited for the writer has gone to it, so there is room for answers again.
written({noreply, #state{deaf = true} = State}) -> read_on(State);
written(Otherwise) -> Otherwise.

%% Octets of the edge

join(<<>>, Data) -> Data;
join(Buffer, Data) -> <<Buffer/binary, Data/binary>>.

take_in(Octets, State) ->
    case ejabberd_megaphone_frame:next(Octets) of
        {violation, Reason, Text} ->
            fail(Reason, Text, State);
        {Frame, Rest, Size} ->
            case frame(Frame, State#state{received = State#state.received + Size}) of
                #state{} = Next -> take_in(Rest, Next);
                {violation, Reason, Text} -> fail(Reason, Text, State);
                {ended, Why} -> {stop, normal, say_ended(Why, State)}
            end;
        more ->
            %% Copied, because it is a slice of a large read of which the rest is done with.
            again(State#state{buffer = binary:copy(Octets)})
    end.

%% An edge that asks for more answers than it reads is not read either.
again(#state{streams = Streams} = State) ->
    case ejabberd_megaphone_streams:control_bytes(Streams) > ?ANSWERS_LIMIT_BYTES of
        true -> proceed(State#state{deaf = true});
        false -> read_on(State)
    end.

read_on(#state{transport = Transport} = State) ->
    case ejabberd_megaphone_transport:activate(Transport) of
        ok -> proceed(State#state{deaf = false});
        {error, Reason} -> detach(Reason, State)
    end.

frame({put_data, Id, Data}, #state{streams = Streams} = State) ->
    streams(ejabberd_megaphone_streams:put_data(Id, Data, Streams), State);
frame({get_data, Id, Limit}, #state{streams = Streams} = State) ->
    streams(ejabberd_megaphone_streams:get_data(Id, Limit, Streams), State);
frame({ack, Received}, State) ->
    acknowledge("ACK", Received, State);
frame({ping, Stamp, Received}, #state{streams = Streams, received = Mine} = State) ->
    Pong = ejabberd_megaphone_frame:pong(Stamp, Mine),
    acknowledge("PING", Received,
                State#state{told = Mine, streams = ejabberd_megaphone_streams:control(Pong, Streams)});
frame({pong, <<Stamp:64>>, Received}, State) ->
    RoundTrip = (erlang:monotonic_time(microsecond) - stamp_base()) - Stamp,
    Known = case RoundTrip >= 0 of
                true -> RoundTrip;
                false -> State#state.round_trip_microseconds
            end,
    acknowledge("PONG", Received, State#state{round_trip_microseconds = Known});
frame({open, Id, Open}, #state{streams = Streams, features = Features} = State) ->
    %% Without the feature for them, channel bindings are not to be believed.
    Believed = case Features band 2 of
                   0 -> maps:without([exporter, unique, certificate], Open);
                   _ -> Open
               end,
    streams(ejabberd_megaphone_streams:open(Id, Believed, Streams), State);
frame({shutdown, 0, _, Reason, Text}, _) ->
    {ended, io_lib:format("the edge ended it (~0p) ~ts", [Reason, printable(Text)])};
frame({shutdown, Id, Sent, _, _}, #state{streams = Streams} = State) ->
    streams(ejabberd_megaphone_streams:shutdown(Id, Sent, Streams), State);
frame(drain, State) ->
    State;
frame({hello, _}, _) ->
    {violation, 'protocol-error', "frame HELLO on a link that has begun"}.

streams({violation, _, _} = Violation, _) -> Violation;
streams(Streams, State) -> State#state{streams = Streams}.

acknowledge(Name, Received, #state{retained = Retained} = State) ->
    case ejabberd_megaphone_retained:acknowledge(Received, Retained) of
        {ok, Less} ->
            State#state{retained = Less};
        error ->
            {violation, 'protocol-error',
             io_lib:format("frame ~s acknowledges ~B of ~B bytes",
                           [Name, Received, ejabberd_megaphone_retained:sent(Retained)])}
    end.

%% The edge has broken a rule: tell it which, and end.
fail(Reason, Text, #state{name = Name, peer = Peer} = State) ->
    ?ERROR_MSG("Link ~ts from ~ts breaks the protocol (~ts): ~ts", [Name, Peer, Reason, Text]),
    last_words(ejabberd_megaphone_frame:shutdown(0, 0, Reason, Text), State),
    {stop, normal, State#state{transport = undefined, writer = undefined}}.

last_words(Octets, #state{writer = Writer, transport = Transport}) ->
    ejabberd_megaphone_transport:finish(Writer, Transport, Octets).

%% A socket that does not become ours. Its last words may take a moment, which the streams need not wait for.
spawn_refusal(Transport, Octets) ->
    Refusal = spawn(fun() ->
                            receive go -> ejabberd_megaphone_transport:refuse(Transport, Octets)
                            after ?LAST_WORDS_MILLISECONDS -> ok
                            end
                    end),
    case ejabberd_megaphone_transport:give(Transport, Refusal) of
        ok ->
            Refusal ! go,
            ok;
        {error, _} ->
            exit(Refusal, kill),
            ejabberd_megaphone_transport:close(Transport)
    end.

%% Frames to the edge

%% Gather while messages wait, but not for ever.
proceed(#state{transport = undefined} = State) ->
    {noreply, State};
proceed(#state{writing = true} = State) ->
    {noreply, State};
proceed(#state{postponed = Postponed} = State) ->
    case has_work(State) of
        false -> {noreply, State};
        true when Postponed < ?POSTPONED_LIMIT -> {noreply, State#state{postponed = Postponed + 1}, 0};
        true -> flush(State)
    end.

has_work(#state{streams = Streams} = State) ->
    ejabberd_megaphone_streams:control_bytes(Streams) > 0 orelse acknowledgement_due(State)
        orelse (ejabberd_megaphone_streams:has_data(Streams) andalso data_budget(State) > 0).

acknowledgement_due(#state{received = Received, told = Told}) -> Received - Told >= ?ACKNOWLEDGE_BYTES.

%% How many bytes of data the next batch may have.
data_budget(#state{features = Features, retained = Retained}) when Features band ?FEATURE_GOES_ON =/= 0 ->
    max(0, min(?BATCH_BYTES, ?RETAINED_LIMIT_BYTES - ejabberd_megaphone_retained:unacknowledged(Retained)));
data_budget(_) ->
    ?BATCH_BYTES.

flush(#state{transport = Transport, writing = Writing} = State) when Transport =:= undefined; Writing ->
    {noreply, State};
flush(#state{writer = Writer, retained = Retained, options = #{max_streams := Most}} = State) ->
    #state{streams = Streams} = Told = tell_received(State),
    {Frames, Rest} = ejabberd_megaphone_streams:compose(data_budget(Told), Streams),
    Next = Told#state{streams = Rest, postponed = 0},
    case iolist_size(Frames) of
        0 ->
            {noreply, Next};
        Size ->
            ejabberd_megaphone_transport:write(Writer, Frames),
            Kept = ejabberd_megaphone_retained:append(Frames, Size, Retained),
            case ejabberd_megaphone_retained:unacknowledged(Kept) - ?RETAINED_LIMIT_BYTES - ?RETAINED_SPARE_BYTES of
                Beyond when Beyond > 64 * Most, State#state.features band ?FEATURE_GOES_ON =/= 0 ->
                    fail('protocol-error', "no acknowledgement came", Next);
                _ ->
                    {noreply, Next#state{writing = true, retained = Kept}}
            end
    end.

tell_received(#state{streams = Streams, received = Received} = State) ->
    case acknowledgement_due(State) of
        true ->
            State#state{told = Received,
                        streams = ejabberd_megaphone_streams:control(ejabberd_megaphone_frame:ack(Received), Streams)};
        false ->
            State
    end.

%% Time

tick(_, #state{streams = undefined} = State) ->
    {noreply, State};
tick(Now, #state{transport = Transport, heard_at = HeardAt} = State)
  when Transport =/= undefined, Now - HeardAt >= ?SILENCE_MILLISECONDS ->
    detach('nothing heard for 15 s', State);
tick(Now, #state{streams = Streams} = State) ->
    Next = collect_own(State#state{streams = ejabberd_megaphone_streams:expire(Now, Streams)}),
    collect_idle(Now, ping(Now, Next)).

ping(Now, #state{transport = Transport, pinged_at = PingedAt, streams = Streams, received = Received} = State)
  when Transport =/= undefined, Now - PingedAt >= ?PING_MILLISECONDS ->
    Stamp = erlang:monotonic_time(microsecond) - stamp_base(),
    Ping = ejabberd_megaphone_frame:ping(<<Stamp:64>>, Received),
    State#state{pinged_at = Now, told = Received, streams = ejabberd_megaphone_streams:control(Ping, Streams)};
ping(_, State) ->
    State.

%% Spread over the time, so that no burst of collections delays anybody. A step follows a step while streams are watched;
%% else the next tick looks again. To wait for ticks only would cost much: while clients log in, what they leave in a
%% second is tens of megabytes.
collect_idle(_, #state{collecting = true} = State) ->
    proceed(State);
collect_idle(_, #state{streams = undefined} = State) ->
    proceed(State);
collect_idle(Now, #state{streams = Streams} = State) ->
    case ejabberd_megaphone_streams:is_watching(Streams) of
        true ->
            erlang:send_after(?COLLECT_MILLISECONDS, self(), collect),
            Collected = ejabberd_megaphone_streams:collect(Now, collected_at_once(), Streams),
            proceed(State#state{collecting = true, streams = Collected});
        false ->
            proceed(State)
    end.

collected_at_once() ->
    case erlang:statistics(total_run_queue_lengths) > ?LOAD_PER_SCHEDULER * erlang:system_info(schedulers_online) of
        true -> ?COLLECTED_UNDER_LOAD;
        false -> ?COLLECTED
    end.

%% The heap of a session keeps large reads alive, and what the edge has acknowledged, until Erlang collects all of it:
%% after many small collections, or never when the traffic ends. (Hibernation would do it too, but each tick undoes it.)
collect_own(#state{retained = Retained, received = Received, carried = Before, carried_collected = Collected,
                   streams = Streams} = State) ->
    Carried = Received + ejabberd_megaphone_retained:sent(Retained),
    #{streams := Count} = ejabberd_megaphone_streams:count(Streams),
    case Carried - Collected of
        Garbage when Garbage >= ?OWN_GARBAGE_BYTES, Garbage >= ?OWN_GARBAGE_BYTES_PER_STREAM * Count;
                     Garbage >= ?QUIET_BYTES, Carried - Before < ?QUIET_BYTES ->
            erlang:garbage_collect(),
            State#state{carried = Carried, carried_collected = Carried};
        _ ->
            State#state{carried = Carried}
    end.

%% Monotonic time may be negative, a stamp may not.
stamp_base() -> erlang:convert_time_unit(erlang:system_info(start_time), native, microsecond).

%% For people

describe(#state{streams = undefined} = State) ->
    #{name => State#state.name, session => State#state.id, peer => State#state.peer, attached => false,
      epoch => State#state.epoch, streams => 0, received_bytes => 0, sent_bytes => 0, unacknowledged_bytes => 0,
      queued_bytes => 0, round_trip_microseconds => undefined};
describe(#state{retained = Retained, streams = Streams} = State) ->
    Counts = ejabberd_megaphone_streams:count(Streams),
    Counts#{name => State#state.name, session => State#state.id, peer => State#state.peer,
            attached => State#state.transport =/= undefined, epoch => State#state.epoch,
            received_bytes => State#state.received, sent_bytes => ejabberd_megaphone_retained:sent(Retained),
            unacknowledged_bytes => ejabberd_megaphone_retained:unacknowledged(Retained),
            round_trip_microseconds => State#state.round_trip_microseconds}.
