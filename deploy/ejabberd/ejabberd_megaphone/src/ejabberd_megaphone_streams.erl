%% The streams of one session: which ids are in use, who owes whom credit, and which bytes wait where.
%%
%% No socket and no timer here: events come in as calls, frames go out through compose/2, messages to client processes
%% are sent by the functions of ejabberd_megaphone_socket.
%%
%%   state    client's process   from the edge    to the edge      an id gets there by
%%   open     takes and says     taken by credit  by credit        OPEN
%%   ending   has closed         dropped          its last bytes   close/1 of the client's process
%%   shut     has closed         dropped          nothing          our SHUTDOWN
%%   (free)   -                  -                -                the edge's SHUTDOWN, with ours before or at once
%%
%% A client's process that is still busy when its stream is freed *lingers*: it gets what had arrived before the
%% SHUTDOWN and then the end, one after the other as it asks for them. TCP sockets do the same.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_streams).

-export([new/1, open/3, put_data/3, get_data/3, shutdown/3]).
-export([send/4, wait_for_room/4, activate/3, close/3, overrun/3, client_down/4]).
-export([compose/2, control_bytes/1, has_data/1, control/2]).
-export([refuse_new/1, is_draining/1, has_clients/1, end_all/1, expire/2, collect/3, is_watching/1]).
-export([count/1, list/1]).

-export_type([streams/0]).

-record(stream, {state = open :: open | ending | shut,
                 serial :: pos_integer(),
                 client :: pid() | undefined,
                 monitor :: reference() | undefined,
                 limits :: ejabberd_megaphone_socket:limits() | undefined,
                 waiter :: ejabberd_megaphone_socket:waiter() | undefined,
                 peer :: {inet:ip_address(), inet:port_number()},
                 transport :: atom(),
                 %% from the edge
                 received = 0 :: non_neg_integer(),
                 taken = 0 :: non_neg_integer(),
                 limit :: pos_integer(),
                 held = <<>> :: binary(),
                 active = false :: boolean(),
                 activity = collected :: ejabberd_megaphone_idle:activity(),
                 %% to the edge
                 sent = 0 :: non_neg_integer(),
                 allowed :: pos_integer(),
                 pending = queue:new() :: queue:queue(binary()),
                 pending_bytes = 0 :: non_neg_integer(),
                 in_turn = false :: boolean(),
                 deadline = infinity :: integer() | infinity}).

-record(streams, {options :: map(),
                  edge_window :: pos_integer(),
                  meter :: ejabberd_megaphone_socket:meter(),
                  serial = 0 :: non_neg_integer(),
                  draining = false :: boolean(),
                  %% streams in state open or ending
                  live = 0 :: non_neg_integer(),
                  ids = #{} :: #{ejabberd_megaphone_frame:stream_id() => #stream{}},
                  lingering = #{} :: #{pos_integer() => {pid(), reference(), binary()}},
                  ending = #{} :: #{ejabberd_megaphone_frame:stream_id() => []},
                  idle :: ejabberd_megaphone_idle:idle(),
                  %% ids that have bytes to send and credit for them, in turn
                  turns = queue:new() :: queue:queue({ejabberd_megaphone_frame:stream_id(), Serial :: pos_integer()}),
                  %% frames that go before data, latest first
                  control = [] :: iolist(),
                  control_bytes = 0 :: non_neg_integer()}).

-opaque streams() :: #streams{}.
-type id() :: ejabberd_megaphone_frame:stream_id().
-type outcome() :: streams() | ejabberd_megaphone_frame:violation().

-define(DELIVERY_BYTES, 16384).
-define(ENDING_MILLISECONDS, 15000).
%% How many streams one call of collect/3 looks at, so that others need not wait long for it.
-define(LOOKED_AT, 1000).

-spec new(#{edge_window := pos_integer(), options := map()}) -> streams().
new(#{edge_window := Window, options := #{idle_gc := IdleSeconds, max_streams := Most} = Options}) ->
    #streams{options = Options, edge_window = Window, meter = ejabberd_megaphone_socket:new_session_meter(),
             idle = ejabberd_megaphone_idle:new(IdleSeconds * 1000, 2 * Most)}.

%% Frames of the edge

-spec open(id(), ejabberd_megaphone_frame:open(), streams()) -> outcome().
open(Id, _, #streams{ids = Ids}) when is_map_key(Id, Ids) ->
    violation("frame OPEN for stream ~B, which is in use", [Id]);
open(Id, _, #streams{ids = Ids, options = #{max_streams := Most}}) when map_size(Ids) >= Most ->
    violation("frame OPEN for stream ~B: more than ~B streams", [Id, Most]);
open(Id, Open, #streams{draining = true} = Streams) ->
    refuse(Id, Open, 'system-shutdown', <<"draining">>, Streams);
open(Id, Open, #streams{options = Options, meter = SessionMeter, serial = Last} = Streams) ->
    Serial = Last + 1,
    {Socket, Limits} = ejabberd_megaphone_socket:new({Id, Serial}, Open, SessionMeter, Options),
    case ejabberd_megaphone_socket:start_client(Socket, maps:get(c2s, Options)) of
        {ok, Client, Monitor} ->
            Stream = stream(Serial, Open, Streams),
            keep(Id, Stream#stream{client = Client, monitor = Monitor, limits = Limits},
                 Streams#streams{serial = Serial, live = Streams#streams.live + 1});
        error ->
            refuse(Id, Open, 'resource-constraint', <<"no process for the client">>, Streams)
    end.

stream(Serial, #{peer := Peer, transport := Transport},
       #streams{options = #{window := Window}, edge_window = EdgeWindow}) ->
    #stream{serial = Serial, peer = Peer, transport = Transport, limit = Window, allowed = EdgeWindow}.

%% The id is in use until the edge has answered our SHUTDOWN.
refuse(Id, Open, Reason, Text, #streams{serial = Last} = Streams) ->
    Stream = stream(Last + 1, Open, Streams),
    keep(Id, Stream#stream{state = shut},
         control(ejabberd_megaphone_frame:shutdown(Id, 0, Reason, Text), Streams#streams{serial = Last + 1})).

-spec put_data(id(), binary(), streams()) -> outcome().
put_data(Id, Data, #streams{ids = Ids} = Streams) ->
    case Ids of
        #{Id := #stream{received = Before, limit = Limit} = Stream} ->
            case Before + byte_size(Data) of
                Received when Received > Limit ->
                    {violation, 'credit-overstepped',
                     io_lib:format("stream ~B: ~B bytes, limit ~B", [Id, Received, Limit])};
                Received ->
                    put_data(Id, Data, Stream#stream{received = Received}, Streams)
            end;
        _ ->
            violation("frame PUT_DATA for stream ~B, which is not open", [Id])
    end.

put_data(Id, Data, #stream{state = open, active = true, client = Client} = Stream, Streams) ->
    %% Copied, or the client's process would keep the whole read of the link alive until its next garbage collection.
    ejabberd_megaphone_socket:deliver(Client, Id, binary:copy(Data)),
    credit(Id, byte_size(Data), Stream#stream{active = false}, Streams);
put_data(Id, Data, #stream{state = open, held = Held} = Stream, Streams) ->
    keep(Id, Stream#stream{held = <<Held/binary, Data/binary>>}, Streams);
put_data(Id, _, Stream, Streams) ->
    keep(Id, Stream, Streams).

%% The client's process has taken so many bytes; the edge hears of it when they are half a window.
credit(Id, Bytes, #stream{taken = Before, limit = Limit} = Stream, #streams{options = #{window := Window}} = Streams) ->
    Taken = Before + Bytes,
    case Taken + Window of
        Next when Next - Limit >= Window div 2 ->
            keep(Id, Stream#stream{taken = Taken, limit = Next},
                 control(ejabberd_megaphone_frame:get_data(Id, Next), Streams));
        _ ->
            keep(Id, Stream#stream{taken = Taken}, Streams)
    end.

-spec get_data(id(), non_neg_integer(), streams()) -> outcome().
get_data(Id, Limit, #streams{ids = Ids, edge_window = Window} = Streams) ->
    case Ids of
        #{Id := #stream{allowed = Before}} when Limit < Before ->
            violation("frame GET_DATA for stream ~B moves the limit back from ~B to ~B", [Id, Before, Limit]);
        #{Id := #stream{sent = Sent}} when Limit > Sent + Window ->
            violation("frame GET_DATA for stream ~B: limit ~B is more than a window above ~B sent bytes",
                      [Id, Limit, Sent]);
        #{Id := Stream} ->
            take_turn(Id, Stream#stream{allowed = Limit}, Streams);
        _ ->
            violation("frame GET_DATA for stream ~B, which is not open", [Id])
    end.

-spec shutdown(id(), non_neg_integer(), streams()) -> outcome().
shutdown(Id, Sent, #streams{ids = Ids} = Streams) ->
    case Ids of
        #{Id := #stream{received = Received}} when Received =/= Sent ->
            violation("frame SHUTDOWN for stream ~B after ~B bytes, of which ~B have come", [Id, Sent, Received]);
        #{Id := #stream{state = shut} = Stream} ->
            free(Id, Stream, Streams);
        #{Id := #stream{sent = Said} = Stream} ->
            Answer = ejabberd_megaphone_frame:shutdown(Id, Said, closed, <<>>),
            free(Id, Stream, linger(Id, Stream, control(Answer, Streams)));
        _ ->
            violation("frame SHUTDOWN for stream ~B, which is not open", [Id])
    end.

free(Id, Stream, #streams{ids = Ids, ending = Ending} = Streams) ->
    discard_pending(Stream),
    Left = maps:remove(Id, Ids),
    ejabberd_megaphone_socket:count_streams(Streams#streams.meter, map_size(Left)),
    Streams#streams{ids = Left, ending = maps:remove(Id, Ending), live = Streams#streams.live - lived(Stream)}.

lived(#stream{state = shut}) -> 0;
lived(_) -> 1.

linger(Id, #stream{state = open, client = Client, monitor = Monitor, limits = Limits, held = Held, active = Active,
                   serial = Serial},
       #streams{lingering = Lingering, options = #{max_streams := Most}} = Streams) ->
    ejabberd_megaphone_socket:shut(maps:get(meter, Limits)),
    case Active orelse map_size(Lingering) >= Most of
        true ->
            ejabberd_megaphone_socket:say_closed(Client, Id),
            erlang:demonitor(Monitor, [flush]),
            Streams;
        false ->
            Streams#streams{lingering = Lingering#{Serial => {Client, Monitor, Held}}}
    end;
linger(_, _, Streams) ->
    Streams.

%% Messages of the clients' processes

-spec send(id(), pos_integer(), binary(), streams()) -> streams().
send(Id, Serial, Data, #streams{ids = Ids, meter = SessionMeter} = Streams) ->
    case Ids of
        #{Id := #stream{serial = Serial, state = open, pending = Pending, pending_bytes = Bytes} = Stream} ->
            take_turn(Id, Stream#stream{pending = queue:in(Data, Pending), pending_bytes = Bytes + byte_size(Data),
                                        activity = activity(Stream, Streams)},
                      watch(Id, Stream, Streams));
        _ ->
            %% The stream has ended meanwhile; its own meter is gone with it.
            ejabberd_megaphone_socket:release_late(SessionMeter, ejabberd_megaphone_socket:cost(Data)),
            Streams
    end.

take_turn(Id, #stream{in_turn = false, pending_bytes = Bytes, sent = Sent, allowed = Allowed, serial = Serial} = Stream,
          #streams{turns = Turns} = Streams) when Bytes > 0, Sent < Allowed ->
    keep(Id, Stream#stream{in_turn = true}, Streams#streams{turns = queue:in({Id, Serial}, Turns)});
take_turn(Id, Stream, Streams) ->
    keep(Id, Stream, Streams).

-spec activate(id(), pos_integer(), streams()) -> streams().
activate(Id, Serial, #streams{ids = Ids, lingering = Lingering} = Streams) ->
    case Ids of
        #{Id := #stream{serial = Serial, state = open, held = <<>>} = Stream} ->
            keep(Id, Stream#stream{active = true, activity = activity(Stream, Streams)}, watch(Id, Stream, Streams));
        #{Id := #stream{serial = Serial, state = open, client = Client, held = Held} = Stream} ->
            {Now, Later} = portion(Held),
            ejabberd_megaphone_socket:deliver(Client, Id, Now),
            credit(Id, byte_size(Now), Stream#stream{held = Later}, Streams);
        _ ->
            case Lingering of
                #{Serial := {Client, Monitor, <<>>}} ->
                    ejabberd_megaphone_socket:say_closed(Client, Id),
                    erlang:demonitor(Monitor, [flush]),
                    Streams#streams{lingering = maps:remove(Serial, Lingering)};
                #{Serial := {Client, Monitor, Held}} ->
                    {Now, Later} = portion(Held),
                    ejabberd_megaphone_socket:deliver(Client, Id, Now),
                    Streams#streams{lingering = Lingering#{Serial := {Client, Monitor, Later}}};
                _ ->
                    Streams
            end
    end.

portion(<<Now:?DELIVERY_BYTES/binary, Later/binary>>) -> {binary:copy(Now), binary:copy(Later)};
portion(Held) -> {Held, <<>>}.

%% The client's process has done something: what it is now, and the queue of those that may be idle soon.
activity(#stream{activity = collected}, #streams{idle = Idle}) ->
    case ejabberd_megaphone_idle:is_full(Idle) of
        true -> collected;
        false -> busy
    end;
activity(_, _) ->
    busy.

watch(Id, #stream{activity = collected, serial = Serial}, #streams{idle = Idle} = Streams) ->
    case ejabberd_megaphone_idle:is_full(Idle) of
        true ->
            Streams;
        false ->
            Now = erlang:monotonic_time(millisecond),
            Streams#streams{idle = ejabberd_megaphone_idle:add({Id, Serial}, Now, Idle)}
    end;
watch(_, _, Streams) ->
    Streams.

%% The client's process has said all it had to say.
-spec close(id(), pos_integer(), streams()) -> streams().
close(Id, Serial, Streams) -> leave(Id, Serial, closed, Streams).

%% The client's process is gone. If it had closed before, its monitor was taken down and we do not get here.
-spec client_down(id(), pos_integer(), term(), streams()) -> streams().
client_down(Id, Serial, Why, Streams) when Why =:= normal; Why =:= shutdown; Why =:= noproc ->
    leave(Id, Serial, closed, Streams);
client_down(Id, Serial, _, Streams) ->
    leave(Id, Serial, 'internal-error', Streams).

leave(Id, Serial, Reason, #streams{ids = Ids, lingering = Lingering, ending = Ending} = Streams) ->
    case Ids of
        #{Id := #stream{serial = Serial, state = open, monitor = Monitor, limits = Limits} = Stream} ->
            erlang:demonitor(Monitor, [flush]),
            ejabberd_megaphone_socket:shut(maps:get(meter, Limits)),
            Alone = Stream#stream{state = ending, client = undefined, monitor = undefined, held = <<>>,
                                  deadline = erlang:monotonic_time(millisecond) + ?ENDING_MILLISECONDS},
            case Stream#stream.pending_bytes of
                0 -> shut(Id, Alone, Reason, Streams);
                _ -> keep(Id, Alone, Streams#streams{ending = Ending#{Id => []}})
            end;
        _ ->
            case maps:take(Serial, Lingering) of
                {{_, Monitor, _}, Left} ->
                    erlang:demonitor(Monitor, [flush]),
                    Streams#streams{lingering = Left};
                error ->
                    Streams
            end
    end.

%% More was said than the edge took in time: end the stream and drop what waits.
-spec overrun(id(), pos_integer(), streams()) -> streams().
overrun(Id, Serial, #streams{ids = Ids} = Streams) ->
    case Ids of
        #{Id := #stream{serial = Serial, state = open, monitor = Monitor} = Stream} ->
            erlang:demonitor(Monitor, [flush]),
            shut(Id, Stream#stream{client = undefined, monitor = undefined, held = <<>>}, 'slow-consumer', Streams);
        _ ->
            Streams
    end.

shut(Id, #stream{sent = Sent} = Stream, Reason, #streams{ending = Ending} = Streams) ->
    discard_pending(Stream),
    keep(Id, Stream#stream{state = shut, pending = queue:new(), pending_bytes = 0, in_turn = false, waiter = undefined},
         control(ejabberd_megaphone_frame:shutdown(Id, Sent, Reason, <<>>),
                 Streams#streams{ending = maps:remove(Id, Ending), live = Streams#streams.live - lived(Stream)})).

discard_pending(#stream{limits = undefined}) ->
    ok;
discard_pending(#stream{pending = Pending, limits = Limits, waiter = Waiter}) ->
    Waiter =:= undefined orelse ejabberd_megaphone_socket:tell_closed(Waiter),
    lists:foreach(fun(Data) ->
                          ejabberd_megaphone_socket:release(Limits, ejabberd_megaphone_socket:cost(Data))
                  end, queue:to_list(Pending)).

%% More was said than there is room for, and the client's process waits.
-spec wait_for_room(id(), pos_integer(), ejabberd_megaphone_socket:waiter(), streams()) -> streams().
wait_for_room(Id, Serial, Waiter, #streams{ids = Ids} = Streams) ->
    case Ids of
        #{Id := #stream{serial = Serial, state = open} = Stream} ->
            keep(Id, tell_room(Stream#stream{waiter = Waiter}), Streams);
        _ ->
            ejabberd_megaphone_socket:tell_closed(Waiter),
            Streams
    end.

tell_room(#stream{waiter = undefined} = Stream) ->
    Stream;
tell_room(#stream{waiter = Waiter, limits = Limits} = Stream) ->
    case ejabberd_megaphone_socket:has_room(Limits) of
        true ->
            ejabberd_megaphone_socket:tell_room(Waiter),
            Stream#stream{waiter = undefined};
        false ->
            Stream
    end.

%% Frames to the edge

-spec control(binary(), streams()) -> streams().
control(Frame, #streams{control = Control, control_bytes = Bytes} = Streams) ->
    Streams#streams{control = [Control | Frame], control_bytes = Bytes + byte_size(Frame)}.

-spec control_bytes(streams()) -> non_neg_integer().
control_bytes(#streams{control_bytes = Bytes}) -> Bytes.

-spec has_data(streams()) -> boolean().
has_data(#streams{turns = Turns}) -> not queue:is_empty(Turns).

%% Up to about so many bytes: first the frames that carry no data, then one data frame of each stream in turn. With 0
%% only the former.
-spec compose(non_neg_integer(), streams()) -> {iolist(), streams()}.
compose(Budget, #streams{control = Control} = Streams) ->
    data(Budget, Control, Streams#streams{control = [], control_bytes = 0}).

data(Budget, Frames, #streams{turns = Turns, ids = Ids} = Streams) when Budget > 0 ->
    case queue:out(Turns) of
        {empty, _} ->
            {Frames, Streams};
        {{value, {Id, Serial}}, Others} ->
            case Ids of
                #{Id := #stream{in_turn = true, serial = Serial} = Stream} ->
                    {Frame, Length, Less} = data_frame(Id, Stream),
                    Next = after_turn(Id, Less, Streams#streams{turns = Others}),
                    data(Budget - Length, [[Frames | Frame] | Next#streams.control],
                         Next#streams{control = [], control_bytes = 0});
                _ ->
                    data(Budget, Frames, Streams#streams{turns = Others})
            end
    end;
data(_, Frames, Streams) ->
    {Frames, Streams}.

data_frame(Id, #stream{pending = Pending, pending_bytes = Bytes, sent = Sent, allowed = Allowed} = Stream) ->
    Length = lists:min([Bytes, Allowed - Sent, ejabberd_megaphone_frame:data_limit()]),
    {Data, Left} = take(Length, Pending, [], Stream#stream.limits),
    {ejabberd_megaphone_frame:send_data(Id, Data, Length), Length + ejabberd_megaphone_frame:header_size(),
     tell_room(Stream#stream{pending = Left, pending_bytes = Bytes - Length, sent = Sent + Length, in_turn = false})}.

%% So many bytes of the queue. The meters are released write by write, as they are all that a write counts.
take(0, Pending, Taken, _) ->
    {lists:reverse(Taken), Pending};
take(Length, Pending, Taken, Limits) ->
    {{value, First}, Rest} = queue:out(Pending),
    case First of
        <<Head:Length/binary, Tail/binary>> when Tail =/= <<>> ->
            ejabberd_megaphone_socket:release(Limits, Length),
            {lists:reverse([Head | Taken]), queue:in_r(Tail, Rest)};
        _ ->
            ejabberd_megaphone_socket:release(Limits, ejabberd_megaphone_socket:cost(First)),
            take(Length - byte_size(First), Rest, [First | Taken], Limits)
    end.

after_turn(Id, #stream{state = ending, pending_bytes = 0} = Stream, Streams) ->
    shut(Id, Stream, closed, Streams);
after_turn(Id, Stream, Streams) ->
    take_turn(Id, Stream, Streams).

%% The whole

%% New streams are refused from now on.
-spec refuse_new(streams()) -> streams().
refuse_new(Streams) -> Streams#streams{draining = true}.

-spec is_draining(streams()) -> boolean().
is_draining(#streams{draining = Draining}) -> Draining.

%% Whether a client's process has not closed yet, or its last bytes have not left.
-spec has_clients(streams()) -> boolean().
has_clients(#streams{live = Live}) -> Live > 0.

%% The session is over: each client's process sees its connection lost.
-spec end_all(streams()) -> ok.
end_all(#streams{ids = Ids, lingering = Lingering}) ->
    maps:foreach(fun(Id, #stream{state = open, client = Client, monitor = Monitor, limits = Limits} = Stream) ->
                         erlang:demonitor(Monitor, [flush]),
                         ejabberd_megaphone_socket:shut(maps:get(meter, Limits)),
                         discard_pending(Stream),
                         ejabberd_megaphone_socket:say_closed(Client, Id);
                    (_, _) ->
                         ok
                 end, Ids),
    maps:foreach(fun(_, {Client, Monitor, _}) ->
                         erlang:demonitor(Monitor, [flush]),
                         ejabberd_megaphone_socket:say_closed(Client, 0)
                 end, Lingering).

%% Streams whose client's process is gone and whose last bytes the edge does not take within their time.
-spec expire(integer(), streams()) -> streams().
expire(_, #streams{ending = Ending} = Streams) when map_size(Ending) =:= 0 ->
    Streams;
expire(Now, #streams{ending = Ending} = Streams) ->
    lists:foldl(fun(Id, #streams{ids = Ids} = Each) ->
                        case Ids of
                            #{Id := #stream{deadline = Deadline} = Stream} when Deadline =< Now ->
                                shut(Id, Stream, 'slow-consumer', Each);
                            _ ->
                                Each
                        end
                end, Streams, maps:keys(Ending)).

%% Have the garbage collected of the clients' processes, at most so many, that have become idle.
-spec collect(integer(), non_neg_integer(), streams()) -> streams().
collect(Now, Most, Streams) -> collect(Now, Most, ?LOOKED_AT, Streams).

collect(_, 0, _, Streams) ->
    Streams;
collect(_, _, 0, Streams) ->
    Streams;
collect(Now, Most, Looks, #streams{ids = Ids, idle = Idle} = Streams) ->
    case ejabberd_megaphone_idle:next(Now, Idle) of
        none ->
            Streams;
        {{Id, Serial} = Key, Left} ->
            case Ids of
                #{Id := #stream{serial = Serial, state = open, activity = busy} = Stream} ->
                    Again = ejabberd_megaphone_idle:add(Key, Now, Left),
                    collect(Now, Most, Looks - 1,
                            Streams#streams{ids = Ids#{Id := Stream#stream{activity = waiting}}, idle = Again});
                #{Id := #stream{serial = Serial, state = open, client = Client} = Stream} ->
                    ejabberd_megaphone_socket:collect_garbage(first, Client),
                    collect(Now, Most - 1, Looks - 1,
                            Streams#streams{ids = Ids#{Id := Stream#stream{activity = collected}}, idle = Left});
                _ ->
                    collect(Now, Most, Looks - 1, Streams#streams{idle = Left})
            end
    end.

%% Whether collect/3 has something to do, now or later.
-spec is_watching(streams()) -> boolean().
is_watching(#streams{idle = Idle}) -> not ejabberd_megaphone_idle:is_empty(Idle).

keep(Id, Stream, #streams{ids = Ids, meter = Meter} = Streams) ->
    Kept = Ids#{Id => Stream},
    %% Counted only when it changes: the clients' processes read this meter at each write.
    map_size(Kept) =:= map_size(Ids) orelse ejabberd_megaphone_socket:count_streams(Meter, map_size(Kept)),
    Streams#streams{ids = Kept}.

%% For people

-spec count(streams()) -> #{streams := non_neg_integer(), queued_bytes := integer(), lingering := non_neg_integer()}.
count(#streams{ids = Ids, meter = Meter, lingering = Lingering}) ->
    #{streams => map_size(Ids), queued_bytes => ejabberd_megaphone_socket:queued(Meter),
      lingering => map_size(Lingering)}.

-spec list(streams()) -> [{id(), {inet:ip_address(), inet:port_number()}, atom(), atom(), non_neg_integer(),
                           non_neg_integer(), non_neg_integer(), non_neg_integer()}].
list(#streams{ids = Ids}) ->
    [{Id, Stream#stream.peer, Stream#stream.transport, Stream#stream.state, Stream#stream.received, Stream#stream.sent,
      byte_size(Stream#stream.held), Stream#stream.pending_bytes}
     || {Id, Stream} <- lists:sort(maps:to_list(Ids))].

violation(Format, Arguments) -> {violation, 'protocol-error', io_lib:format(Format, Arguments)}.
