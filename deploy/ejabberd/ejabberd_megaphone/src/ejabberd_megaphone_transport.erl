%% The socket under a link: TCP, Unix or TLS behind one face, and the process that writes to it.
%%
%% A write blocks while the other side does not read. The session must go on meanwhile (streams come and go, and their
%% bytes are to be interleaved fairly, not in the order they came), so each socket has a writer process. It holds one
%% batch at a time and says when the batch has left; the next one is composed only then.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_transport).

-export([plain/1, tls/3, give/2, receive_some/2, refuse/2, close/1, activate/1, peer/1, message/2]).
-export([start_writer/1, write/2, finish/3]).

-export_type([transport/0]).

-type transport() :: {gen_tcp, inet:socket()} | {ssl, ssl:sslsocket()}.

-define(READ_BYTES, 65536).
-define(SEND_TIMEOUT_MILLISECONDS, 15000).
-define(LINGER_MILLISECONDS, 2000).
-define(WRITER_IDLE_MILLISECONDS, 1000).

%% A socket of the listener, not active.
-spec plain(inet:socket()) -> transport().
plain(Socket) ->
    _ = inet:setopts(Socket, [{buffer, ?READ_BYTES}, {send_timeout, ?SEND_TIMEOUT_MILLISECONDS},
                              {send_timeout_close, true}]),
    {gen_tcp, Socket}.

%% The same with TLS on it, shaken hands within the timeout.
-spec tls(inet:socket(), [ssl:tls_server_option()], pos_integer()) -> {ok, transport()} | {error, term()}.
tls(Socket, Options, TimeoutMilliseconds) ->
    case ssl:handshake(Socket, Options, TimeoutMilliseconds) of
        {ok, Secure} -> {ok, {ssl, Secure}};
        {error, Reason} -> {error, Reason}
    end.

%% The process of `Pid` owns it from now on; the caller must be its owner.
-spec give(transport(), pid()) -> ok | {error, term()}.
give({Module, Socket}, Pid) -> Module:controlling_process(Socket, Pid).

%% Some octets of a socket that is not active.
-spec receive_some(transport(), non_neg_integer()) -> {ok, binary()} | {error, term()}.
receive_some({Module, Socket}, TimeoutMilliseconds) -> Module:recv(Socket, 0, TimeoutMilliseconds).

-spec activate(transport()) -> ok | {error, term()}.
activate({gen_tcp, Socket}) -> inet:setopts(Socket, [{active, once}]);
activate({ssl, Socket}) -> ssl:setopts(Socket, [{active, once}]).

%% What a message of the socket means, if it is one of this socket.
-spec message(transport(), term()) -> {data, binary()} | {closed, term()} | other.
message({gen_tcp, Socket}, {tcp, Socket, Data}) -> {data, Data};
message({gen_tcp, Socket}, {tcp_closed, Socket}) -> {closed, closed};
message({gen_tcp, Socket}, {tcp_error, Socket, Reason}) -> {closed, Reason};
message({ssl, Socket}, {ssl, Socket, Data}) -> {data, Data};
message({ssl, Socket}, {ssl_closed, Socket}) -> {closed, closed};
message({ssl, Socket}, {ssl_error, Socket, Reason}) -> {closed, Reason};
message(_, _) -> other.

-spec peer(transport()) -> binary().
peer({gen_tcp, Socket}) -> peer_text(inet:peername(Socket));
peer({ssl, Socket}) -> peer_text(ssl:peername(Socket)).

peer_text({ok, {local, _}}) -> <<"unix">>;
peer_text({ok, {Address, Port}}) when tuple_size(Address) =:= 8 ->
    iolist_to_binary(["[", inet:ntoa(Address), "]:", integer_to_list(Port)]);
peer_text({ok, {Address, Port}}) when is_tuple(Address) ->
    iolist_to_binary([inet:ntoa(Address), ":", integer_to_list(Port)]);
peer_text(_) -> <<"unknown">>.

-spec close(transport()) -> ok.
close({Module, Socket}) ->
    _ = Module:close(Socket),
    ok.

%% Write these octets and close, so that the other side can read them: a socket that is closed with unread octets would
%% be reset, and the reset would overtake our last words.
-spec refuse(transport(), iodata()) -> ok.
refuse({Module, Socket} = Transport, LastWords) ->
    _ = passive(Transport),
    case Module:send(Socket, LastWords) of
        ok ->
            _ = Module:shutdown(Socket, write),
            discard(Transport, erlang:monotonic_time(millisecond) + ?LINGER_MILLISECONDS);
        {error, _} -> ok
    end,
    close(Transport).

passive({gen_tcp, Socket}) -> inet:setopts(Socket, [{active, false}]);
passive({ssl, Socket}) -> ssl:setopts(Socket, [{active, false}]).

discard(Transport, Deadline) ->
    Left = Deadline - erlang:monotonic_time(millisecond),
    case Left > 0 andalso receive_some(Transport, Left) of
        {ok, _} -> discard(Transport, Deadline);
        _ -> ok
    end.

%% The writer

-spec start_writer(transport()) -> pid().
start_writer(Transport) ->
    Session = self(),
    spawn_link(fun() -> writer(Transport, Session, infinity) end).

%% Answered with {written, Writer}, or with {'EXIT', Writer, _} when the socket is gone. One at a time.
-spec write(pid(), iodata()) -> ok.
write(Writer, Data) ->
    Writer ! {write, Data},
    ok.

%% Give the socket and its last words to the writer, which outlives the session for this.
-spec finish(pid(), transport(), iodata()) -> ok.
finish(Writer, Transport, LastWords) ->
    unlink(Writer),
    case give(Transport, Writer) of
        ok ->
            Writer ! {finish, LastWords},
            ok;
        {error, _} ->
            exit(Writer, kill),
            close(Transport)
    end.

writer({Module, Socket} = Transport, Session, IdleTimeout) ->
    receive
        {write, Data} ->
            case Module:send(Socket, Data) of
                ok ->
                    Session ! {written, self()},
                    writer(Transport, Session, ?WRITER_IDLE_MILLISECONDS);
                {error, _} ->
                    exit(normal)
            end;
        {finish, LastWords} -> refuse(Transport, LastWords)
    after IdleTimeout ->
        %% Else the last batches stay.
        erlang:garbage_collect(),
        writer(Transport, Session, infinity)
    end.
