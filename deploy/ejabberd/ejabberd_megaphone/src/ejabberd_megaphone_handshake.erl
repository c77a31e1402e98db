%% The first seconds of a link's socket: TLS if asked for, CHALLENGE, HELLO. Then the session gets the socket.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_handshake).

-include("logger.hrl").

-export([start/2, start_link/2, proceed/1]).
-export([init/2]).

-define(DEADLINE_MILLISECONDS, 10000).
%% Sockets that have not said HELLO, beside those of as many links as are allowed.
-define(SPARE_SOCKETS, 128).

-spec start(inet:socket(), map()) -> {ok, pid()}.
start(Socket, Options) -> {ok, proc_lib:spawn(?MODULE, init, [Socket, Options])}.

-spec start_link(inet:socket(), map()) -> {ok, pid()}.
start_link(Socket, Options) -> {ok, proc_lib:spawn_link(?MODULE, init, [Socket, Options])}.

%% The process owns the socket now.
-spec proceed(pid()) -> ok.
proceed(Pid) ->
    Pid ! proceed,
    ok.

-spec init(inet:socket(), map()) -> ok.
init(Socket, Options) ->
    receive
        proceed -> begin_link(Socket, Options)
    after ?DEADLINE_MILLISECONDS ->
        gen_tcp:close(Socket)
    end.

begin_link(Socket, #{max_links := Most} = Options) ->
    Deadline = erlang:monotonic_time(millisecond) + ?DEADLINE_MILLISECONDS,
    Peer = ejabberd_megaphone_transport:peer({gen_tcp, Socket}),
    Plain = ejabberd_megaphone_transport:plain(Socket),
    make_room(Most + ?SPARE_SOCKETS),
    case secure(Plain, Options) of
        {ok, Transport} ->
            challenge(Transport, Peer, Deadline, Options);
        {error, Reason} ->
            ?WARNING_MSG("Link from ~ts: TLS failed: ~0p", [Peer, Reason]),
            ejabberd_megaphone_transport:close(Plain)
    end.

%% Of too many sockets that wait for their HELLO the oldest goes: an honest edge says it at once. Pids grow, except when
%% they wrap, and then another one than the oldest goes.
make_room(Most) ->
    %% Without a supervisor (the listener's option `supervisor: false`) nobody counts them.
    Supervisor = whereis(ejabberd_megaphone_sup),
    case Supervisor =/= undefined andalso proplists:get_value(active, supervisor:count_children(Supervisor)) > Most of
        true ->
            Oldest = lists:min([Pid || {_, Pid, _, _} <- supervisor:which_children(Supervisor), is_pid(Pid)]),
            exit(Oldest, shutdown),
            ok;
        false ->
            ok
    end.

secure({gen_tcp, Socket}, #{tls := Options}) when is_list(Options) ->
    ejabberd_megaphone_transport:tls(Socket, Options, ?DEADLINE_MILLISECONDS);
secure(Plain, _) ->
    {ok, Plain}.

challenge(Transport, Peer, Deadline, Options) ->
    {Payload, Frame} = ejabberd_megaphone_frame:challenge(crypto:strong_rand_bytes(16),
                                                          ejabberd_megaphone_registry:instance()),
    {Module, Socket} = Transport,
    case Module:send(Socket, Frame) of
        ok ->
            case hello(<<>>, Transport, Deadline) of
                {hello, Hello} ->
                    case judge(Hello, Payload, Options) of
                        {ok, Session} ->
                            hand_over(Session, #{transport => Transport, hello => Hello, challenge => Payload,
                                                 secret => maps:get(secret, Options)});
                        {violation, Reason, Text} ->
                            refuse(Reason, Text, Transport, Peer)
                    end;
                {violation, Reason, Text} ->
                    refuse(Reason, Text, Transport, Peer);
                {error, Reason} ->
                    ?DEBUG("Link from ~ts ended before its HELLO: ~0p", [Peer, Reason]),
                    ejabberd_megaphone_transport:close(Transport)
            end;
        {error, _} ->
            ejabberd_megaphone_transport:close(Transport)
    end.

hello(Before, Transport, Deadline) ->
    case ejabberd_megaphone_frame:next(Before) of
        more ->
            Left = Deadline - erlang:monotonic_time(millisecond),
            case Left > 0 andalso ejabberd_megaphone_transport:receive_some(Transport, Left) of
                {ok, Data} -> hello(<<Before/binary, Data/binary>>, Transport, Deadline);
                {error, Reason} -> {error, Reason};
                false -> {error, timeout}
            end;
        {{hello, Hello}, <<>>, _} ->
            {hello, Hello};
        {{hello, _}, _, _} ->
            {violation, 'protocol-error', "bytes after HELLO and before WELCOME"};
        {violation, _, _} = Violation ->
            Violation;
        {Frame, _, _} ->
            Name = case Frame of
                       drain -> drain;
                       _ -> element(1, Frame)
                   end,
            {violation, 'protocol-error', ["frame ", string:uppercase(atom_to_list(Name)), " before HELLO"]}
    end.

judge(#{session := Session, proven := Proven, proof := Proof}, Challenge, #{secret := Secret} = Options) ->
    case ejabberd_megaphone_frame:equal(Proof, ejabberd_megaphone_frame:edge_proof(Secret, Challenge, Proven)) of
        false ->
            {violation, 'not-authorized', "the proof is wrong: check that both sides have the same secret"};
        true ->
            case ejabberd_megaphone_registry:session(Session, Options) of
                {ok, Pid} -> {ok, Pid};
                {error, Reason} -> {violation, Reason, ""}
            end
    end.

hand_over(Session, #{transport := Transport} = Arrival) ->
    case ejabberd_megaphone_transport:give(Transport, Session) of
        ok -> ejabberd_megaphone_session:attach(Session, Arrival);
        {error, _} -> ejabberd_megaphone_transport:close(Transport)
    end.

refuse(Reason, Text, Transport, Peer) ->
    ?WARNING_MSG("Link from ~ts refused (~ts): ~ts", [Peer, Reason, Text]),
    ejabberd_megaphone_transport:refuse(Transport, ejabberd_megaphone_frame:shutdown(0, 0, Reason, Text)).
