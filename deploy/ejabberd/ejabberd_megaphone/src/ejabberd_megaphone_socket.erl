%% What a client's process (ejabberd_c2s) takes for its socket: one stream of a link.
%%
%% These functions run in the client's process. They talk to the link's session by messages and never wait for it. How
%% much the client's process may say before the edge has taken it is counted in two meters, which both processes see:
%%
%%   the stream's   {bytes queued, whether it is closed}
%%   the session's  {bytes queued of all streams, number of streams}
%%
%% A stream above its limit makes its client's process wait, as a full TCP socket does, and ends as a slow consumer if
%% there is no room in time. Above the session's limit so does any stream that holds more than its equal share; the
%% session therefore never holds more than twice its limit and one write of each stream.
%%
%% ejabberd uses us in its raw mode: get_owner/1 answers with the caller, so the client's process parses XML itself and
%% no second process is needed. send/2 belongs to that mode.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_socket).

%% Called by the session
-export([new/4, start_client/2, deliver/3, say_closed/2, collect_garbage/2, shut/1, release/2, release_late/2,
         new_session_meter/0, count_streams/2, queued/1, cost/1, has_room/1, tell_room/1, tell_closed/1]).
%% Called by ejabberd_c2s through xmpp_socket
-export([send/2, get_owner/1, get_transport/1, controlling_process/2, close/1, sockname/1, peername/1, setopts/2,
         get_tls_last_message/2, get_tls_cb_exporter/1, get_negotiated_cipher/1, send_xml/2, reset_stream/1,
         change_shaper/2]).
%% Hook
-export([c2s_init/2]).

-export_type([socket/0, meter/0, limits/0, waiter/0]).

-define(QUEUED_BYTES, 1).
-define(CLOSED, 2).
-define(STREAMS, 2).
%% What a write costs beside its bytes: list cells, the binary's header.
-define(WRITE_COST_BYTES, 64).

-type meter() :: atomics:atomics_ref().
-type limits() :: #{meter := meter(), session_meter := meter(), stream_limit := pos_integer(),
                    session_limit := pos_integer(), slow_consumer_timeout := timeout()}.
-type waiter() :: reference().

-record(megaphone_socket, {session :: pid(),
                           id :: ejabberd_megaphone_frame:stream_id(),
                           serial :: pos_integer(),
                           limits :: limits(),
                           secure :: boolean(),
                           peer :: {inet:ip_address(), inet:port_number()},
                           local :: {inet:ip_address(), inet:port_number()},
                           exporter :: binary() | undefined,
                           unique :: binary() | undefined,
                           cipher :: binary() | undefined}).

-opaque socket() :: #megaphone_socket{}.

%% For the session

%% `Serial` tells this use of the id from earlier and later ones. The caller becomes the socket's session.
-spec new({ejabberd_megaphone_frame:stream_id(), pos_integer()}, ejabberd_megaphone_frame:open(), meter(), map()) ->
    {socket(), limits()}.
new({Id, Serial}, #{peer := Peer, local := Local, tls := TLS} = Open, SessionMeter,
    #{stream_limit := StreamLimit, session_limit := SessionLimit, slow_consumer_timeout := SendTimeout}) ->
    Limits = #{meter => atomics:new(2, []), session_meter => SessionMeter, stream_limit => StreamLimit,
               session_limit => SessionLimit, slow_consumer_timeout => SendTimeout},
    {#megaphone_socket{session = self(), id = Id, serial = Serial, limits = Limits, secure = TLS =/= 0, peer = Peer,
                       local = Local, exporter = maps:get(exporter, Open, undefined),
                       unique = maps:get(unique, Open, undefined), cipher = maps:get(cipher, Open, undefined)},
     Limits}.

%% Start the client's process. Its end arrives as {client_down, Id, Serial} in place of 'DOWN'.
-spec start_client(socket(), [proplists:property()]) -> {ok, pid(), reference()} | error.
start_client(#megaphone_socket{id = Id, serial = Serial} = Socket, Options) ->
    case ejabberd_c2s:start(?MODULE, Socket, [{megaphone, Socket} | Options]) of
        {ok, Pid} ->
            Monitor = erlang:monitor(process, Pid, [{tag, {client_down, Id, Serial}}]),
            ok = ejabberd_c2s:accept(Pid),
            {ok, Pid, Monitor};
        _ ->
            error
    end.

%% Only the message's kind matters to the client's process; the second element stands where a socket stands for TCP.
-spec deliver(pid(), ejabberd_megaphone_frame:stream_id(), binary()) -> ok.
deliver(Pid, Id, Data) ->
    Pid ! {tcp, Id, Data},
    ok.

-spec say_closed(pid(), ejabberd_megaphone_frame:stream_id()) -> ok.
say_closed(Pid, Id) ->
    Pid ! {tcp_closed, Id},
    ok.

%% Runs in the client's process; answered with {garbage_collect, {first | second, Pid}, Done :: boolean()}. Erlang sizes a
%% new heap by what the old one held, garbage and all: the first collection leaves 9 kB of an idle client's process, the
%% second 4 to 6. It is to be asked for when the first is answered, as requests that wait together are done as one.
-spec collect_garbage(first | second, pid()) -> ok.
collect_garbage(Turn, Pid) ->
    async = erlang:garbage_collect(Pid, [{async, {Turn, Pid}}]),
    ok.

%% From now on send/2 refuses, so that a client's process that has not noticed yet queues nothing.
-spec shut(meter()) -> ok.
shut(Meter) -> atomics:put(Meter, ?CLOSED, 1).

%% So much of what was queued has left or is dropped.
-spec release(limits(), non_neg_integer()) -> ok.
release(#{meter := Meter, session_meter := SessionMeter}, Cost) ->
    atomics:sub(Meter, ?QUEUED_BYTES, Cost),
    atomics:sub(SessionMeter, ?QUEUED_BYTES, Cost).

%% The same for a stream whose own meter is gone.
-spec release_late(meter(), non_neg_integer()) -> ok.
release_late(SessionMeter, Cost) -> atomics:sub(SessionMeter, ?QUEUED_BYTES, Cost).

-spec new_session_meter() -> meter().
new_session_meter() -> atomics:new(2, []).

-spec count_streams(meter(), non_neg_integer()) -> ok.
count_streams(SessionMeter, Streams) -> atomics:put(SessionMeter, ?STREAMS, Streams).

-spec queued(meter()) -> integer().
queued(Meter) -> atomics:get(Meter, ?QUEUED_BYTES).

%% What these bytes count in the meters.
-spec cost(binary()) -> pos_integer().
cost(Data) -> byte_size(Data) + ?WRITE_COST_BYTES.

%% For ejabberd_c2s

-spec send(socket(), iodata()) -> ok | {error, closed}.
send(#megaphone_socket{session = Session, id = Id, serial = Serial, limits = Limits} = Socket, Data) ->
    #{meter := Meter, session_meter := SessionMeter} = Limits,
    case atomics:get(Meter, ?CLOSED) of
        0 ->
            Bytes = iolist_to_binary(Data),
            Cost = cost(Bytes),
            Own = atomics:add_get(Meter, ?QUEUED_BYTES, Cost),
            All = atomics:add_get(SessionMeter, ?QUEUED_BYTES, Cost),
            Session ! {send, Id, Serial, Bytes},
            case has_room(Own, All, Limits) of
                true -> ok;
                false -> wait_for_room(Socket)
            end;
        1 ->
            {error, closed}
    end.

%% The answer comes to an alias, so none can come too late. The reference is new, so the receive looks at no message
%% that was there before.
wait_for_room(#megaphone_socket{session = Session, id = Id, serial = Serial,
                                limits = #{meter := Meter, slow_consumer_timeout := Timeout}}) ->
    Waiter = erlang:monitor(process, Session, [{alias, reply_demonitor}]),
    Session ! {wait_for_room, Id, Serial, Waiter},
    receive
        {room, Waiter} -> ok;
        {closed, Waiter} -> {error, closed};
        {'DOWN', Waiter, process, _, _} -> {error, closed}
    after Timeout ->
        erlang:demonitor(Waiter, [flush]),
        shut(Meter),
        Session ! {overrun, Id, Serial},
        {error, closed}
    end.

%% Whether the stream may say more.
-spec has_room(limits()) -> boolean().
has_room(#{meter := Meter, session_meter := SessionMeter} = Limits) ->
    has_room(atomics:get(Meter, ?QUEUED_BYTES), atomics:get(SessionMeter, ?QUEUED_BYTES), Limits).

has_room(Own, _, #{stream_limit := Limit}) when Own > Limit -> false;
has_room(Own, All, #{session_limit := Limit, session_meter := SessionMeter}) when All > Limit ->
    Own * atomics:get(SessionMeter, ?STREAMS) =< Limit;
has_room(_, _, _) -> true.

-spec tell_room(waiter()) -> ok.
tell_room(Waiter) ->
    Waiter ! {room, Waiter},
    ok.

-spec tell_closed(waiter()) -> ok.
tell_closed(Waiter) ->
    Waiter ! {closed, Waiter},
    ok.

%% The client's process is ready for more.
-spec setopts(socket(), [{active, once}]) -> ok.
setopts(#megaphone_socket{session = Session, id = Id, serial = Serial}, [{active, once}]) ->
    Session ! {activate, Id, Serial},
    ok;
setopts(_, _) ->
    ok.

%% May be called twice, and after the stream is gone: the serial tells the session.
-spec close(socket()) -> ok.
close(#megaphone_socket{session = Session, id = Id, serial = Serial, limits = #{meter := Meter}}) ->
    shut(Meter),
    Session ! {close, Id, Serial},
    ok.

-spec get_owner(socket()) -> pid().
get_owner(_) -> self().

%% ejabberd_c2s:get_conn_type/1 knows a closed list of atoms; any other crashes the session when it binds.
-spec get_transport(socket()) -> tcp | tls.
get_transport(#megaphone_socket{secure = true}) -> tls;
get_transport(_) -> tcp.

-spec controlling_process(socket(), pid()) -> ok.
controlling_process(_, _) -> ok.

-spec sockname(socket()) -> {ok, {inet:ip_address(), inet:port_number()}}.
sockname(#megaphone_socket{local = Local}) -> {ok, Local}.

-spec peername(socket()) -> {ok, {inet:ip_address(), inet:port_number()}}.
peername(#megaphone_socket{peer = Peer}) -> {ok, Peer}.

%% tls-unique. The socket is the second argument here, other than in every function beside it.
-spec get_tls_last_message(peer | self, socket()) -> {ok, binary()} | {error, unavailable}.
get_tls_last_message(_, #megaphone_socket{unique = undefined}) -> {error, unavailable};
get_tls_last_message(_, #megaphone_socket{unique = Unique}) -> {ok, Unique}.

%% tls-exporter; asked for from ejabberd 24.02 on.
-spec get_tls_cb_exporter(socket()) -> {ok, binary()} | {error, unavailable}.
get_tls_cb_exporter(#megaphone_socket{exporter = undefined}) -> {error, unavailable};
get_tls_cb_exporter(#megaphone_socket{exporter = Exporter}) -> {ok, Exporter}.

-spec get_negotiated_cipher(socket()) -> {ok, binary()} | error.
get_negotiated_cipher(#megaphone_socket{cipher = undefined}) -> error;
get_negotiated_cipher(#megaphone_socket{cipher = Cipher}) -> {ok, Cipher}.

%% The behaviour of a socket module wants these; in raw mode nobody calls them.
-spec send_xml(socket(), term()) -> {error, closed}.
send_xml(_, _) -> {error, closed}.

-spec reset_stream(socket()) -> socket().
reset_stream(Socket) -> Socket.

-spec change_shaper(socket(), term()) -> ok.
change_shaper(_, _) -> ok.

%% The hook c2s_init, which ejabberd runs for every client's process. For ours it watches the session (in raw mode
%% nobody else does) and says whether the stream counts as encrypted. That key turns on the -PLUS mechanisms, so it is set
%% only where there is data to bind to.
-spec c2s_init({ok, map()} | term(), [proplists:property()]) -> {ok, map()} | term().
c2s_init({ok, State}, Options) ->
    case proplists:get_value(megaphone, Options) of
        #megaphone_socket{session = Session} = Socket ->
            Started = ejabberd_megaphone_login:started(State, Options),
            {ok, Started#{socket_monitor => erlang:monitor(process, Session), stream_encrypted => can_bind(Socket)}};
        _ ->
            {ok, State}
    end;
c2s_init(Other, _) ->
    Other.

can_bind(#megaphone_socket{exporter = undefined, unique = Unique}) -> Unique =/= undefined;
%% ejabberd before 24.02 cannot use the exporter, and would offer mechanisms that then fail.
can_bind(#megaphone_socket{unique = undefined}) -> erlang:function_exported(xmpp_socket, get_tls_cb_exporter, 1);
can_bind(_) -> true.
