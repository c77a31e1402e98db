%% Frames of the link protocol: octets to terms and back, and the proofs. Pure functions; nothing here keeps a state.
%%
%%   0        1                    4                            8
%%   +--------+--------------------+----------------------------+-----------------------
%%   |  type  |  payload length    |  id (0: the link itself)   |  payload ...
%%   +--------+--------------------+----------------------------+-----------------------
%%
%% docs/reference/link-protocol.md is the contract. This is the server side: frames that only a server may send are
%% written here and never read.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_frame).

-export([next/1]).
-export([challenge/2, welcome/1, ping/2, pong/2, ack/1, drain/0, send_data/3, get_data/2, shutdown/4]).
-export([edge_proof/3, server_proof/4, equal/2]).
-export([reason_code/1, version/0, data_limit/0, header_size/0]).

-export_type([frame/0, reason/0, hello/0, open/0, stream_id/0, violation/0]).

-define(MAGIC, "MPLK").
-define(VERSION, 1).
-define(HEADER_BYTES, 8).
-define(DATA_LIMIT_BYTES, 16384).
-define(TEXT_LIMIT_BYTES, 255).
-define(LEAST_WINDOW_BYTES, 4096).
-define(MOST_WINDOW_BYTES, 1048576).

-define(CHALLENGE, 16#01).
-define(HELLO, 16#02).
-define(WELCOME, 16#03).
-define(PING, 16#04).
-define(PONG, 16#05).
-define(ACK, 16#06).
-define(DRAIN, 16#07).
-define(OPEN, 16#10).
-define(PUT_DATA, 16#11).
-define(SEND_DATA, 16#12).
-define(GET_DATA, 16#13).
-define(SHUTDOWN, 16#14).

-type stream_id() :: 0..16#FFFFFFFF.
-type reason() :: closed | 'connection-lost' | 'connection-timeout' | 'policy-violation' | 'slow-consumer'
                | 'resource-constraint' | 'system-shutdown' | 'internal-error' | 'remote-connection-failed'
                | 'protocol-error' | 'credit-overstepped' | 'unsupported-version' | 'not-authorized' | 'stale-epoch'
                | 'link-timeout' | 'too-many-links'.
-type endpoint() :: {inet:ip_address(), inet:port_number()}.
-type hello() :: #{features := non_neg_integer(), session := <<_:128>>, epoch := non_neg_integer(),
                   received := non_neg_integer(), window := non_neg_integer(), name := binary(),
                   proof := <<_:256>>, proven := binary(), payload := binary()}.
-type open() :: #{transport := tcp | tls | starttls | websocket | websocket_tls, peer := endpoint(),
                  local := endpoint(), tls := non_neg_integer(), server_name => binary(), alpn => binary(),
                  exporter => binary(), unique => binary(), cipher => binary(), client_certificate => binary(),
                  certificate => binary()}.
-type frame() :: {hello, hello()} | {ping, binary(), non_neg_integer()} | {pong, binary(), non_neg_integer()}
               | {ack, non_neg_integer()} | drain | {open, stream_id(), open()} | {put_data, stream_id(), binary()}
               | {get_data, stream_id(), non_neg_integer()}
               | {shutdown, stream_id(), non_neg_integer(), reason() | byte(), binary()}.
-type violation() :: {violation, reason(), unicode:chardata()}.

-spec version() -> byte().
version() -> ?VERSION.

-spec data_limit() -> pos_integer().
data_limit() -> ?DATA_LIMIT_BYTES.

-spec header_size() -> pos_integer().
header_size() -> ?HEADER_BYTES.

%% The first frame of these octets, what follows it, and how many octets it took. A header that breaks a rule is told at
%% once, before its payload has come.
-spec next(binary()) -> {frame(), binary(), pos_integer()} | more | violation().
next(<<?PUT_DATA, Length:24, Id:32, Rest/binary>>)
  when Length >= 1, Length =< ?DATA_LIMIT_BYTES, Id > 0 ->
    %% First, since nearly all frames are of this kind.
    case Rest of
        <<Data:Length/binary, Tail/binary>> -> {{put_data, Id, Data}, Tail, ?HEADER_BYTES + Length};
        _ -> more
    end;
next(<<Type, Length:24, Id:32, Rest/binary>>) ->
    case bounds(Type) of
        {Name, _, _, _} when Name =:= server_only ->
            violation(["frame ", type_name(Type), " comes from a server only"]);
        {_, Least, Most, _} when Length < Least; Length > Most ->
            violation(["frame ", type_name(Type), " with ", integer_to_list(Length), " bytes"]);
        {_, _, _, Ids} when Ids =:= link, Id =/= 0; Ids =:= stream, Id =:= 0 ->
            violation(["frame ", type_name(Type), " with id ", integer_to_list(Id)]);
        {_, _, _, _} ->
            case Rest of
                <<Payload:Length/binary, Tail/binary>> ->
                    case parse(Type, Id, Payload) of
                        {violation, _, _} = Violation -> Violation;
                        Frame -> {Frame, Tail, ?HEADER_BYTES + Length}
                    end;
                _ ->
                    more
            end;
        unknown ->
            violation(["frame type ", hexadecimal(Type), " is not known"])
    end;
next(_) ->
    more.

bounds(?HELLO) -> {hello, 90, 345, link};
bounds(?PING) -> {ping, 16, 16, link};
bounds(?PONG) -> {pong, 16, 16, link};
bounds(?ACK) -> {ack, 8, 8, link};
bounds(?DRAIN) -> {drain, 0, 0, link};
bounds(?OPEN) -> {open, 40, 4096, stream};
bounds(?PUT_DATA) -> {put_data, 1, ?DATA_LIMIT_BYTES, stream};
bounds(?GET_DATA) -> {get_data, 8, 8, stream};
bounds(?SHUTDOWN) -> {shutdown, 9, 9 + ?TEXT_LIMIT_BYTES, any};
bounds(?CHALLENGE) -> {server_only, 38, 38, link};
bounds(?WELCOME) -> {server_only, 60, 60, link};
bounds(?SEND_DATA) -> {server_only, 1, ?DATA_LIMIT_BYTES, stream};
bounds(_) -> unknown.

type_name(?CHALLENGE) -> "CHALLENGE";
type_name(?HELLO) -> "HELLO";
type_name(?WELCOME) -> "WELCOME";
type_name(?PING) -> "PING";
type_name(?PONG) -> "PONG";
type_name(?ACK) -> "ACK";
type_name(?DRAIN) -> "DRAIN";
type_name(?OPEN) -> "OPEN";
type_name(?PUT_DATA) -> "PUT_DATA";
type_name(?SEND_DATA) -> "SEND_DATA";
type_name(?GET_DATA) -> "GET_DATA";
type_name(?SHUTDOWN) -> "SHUTDOWN".

parse(?GET_DATA, Id, <<Limit:64>>) -> {get_data, Id, Limit};
parse(?ACK, 0, <<Received:64>>) -> {ack, Received};
parse(?PING, 0, <<Stamp:8/binary, Received:64>>) -> {ping, Stamp, Received};
parse(?PONG, 0, <<Stamp:8/binary, Received:64>>) -> {pong, Stamp, Received};
parse(?DRAIN, 0, <<>>) -> drain;
parse(?SHUTDOWN, Id, <<Sent:64, Code, Text/binary>>) ->
    case reason(Code) of
        Reason when Id =/= 0, Code >= 16 ->
            violation(["frame SHUTDOWN for stream ", integer_to_list(Id), " with reason ", reason_text(Reason)]);
        Reason ->
            case is_text(Text) of
                true -> {shutdown, Id, Sent, Reason, Text};
                false -> violation("frame SHUTDOWN with a text that is not UTF-8")
            end
    end;
parse(?OPEN, Id, Payload) -> parse_open(Id, Payload);
parse(?HELLO, 0, <<?MAGIC, Version, _/binary>>) when Version =/= ?VERSION ->
    {violation, 'unsupported-version',
     ["version ", integer_to_list(Version), " is not among those understood: ", integer_to_list(?VERSION)]};
parse(?HELLO, 0, <<?MAGIC, ?VERSION, Features:32, _Nonce:16/binary, Session:16/binary, Epoch:32, Received:64, Window:32,
                   NameLength, Name:NameLength/binary, Proof:32/binary>> = Payload) ->
    if
        Window < ?LEAST_WINDOW_BYTES; Window > ?MOST_WINDOW_BYTES ->
            violation(["frame HELLO with window ", integer_to_list(Window)]);
        Epoch =:= 0 ->
            violation("frame HELLO with epoch 0");
        true ->
            case is_text(Name) of
                true ->
                    {hello, #{features => Features, session => Session, epoch => Epoch, received => Received,
                              window => Window, name => Name, proof => Proof, payload => Payload,
                              proven => binary:part(Payload, 0, byte_size(Payload) - 32)}};
                false ->
                    violation("frame HELLO with a name that is not UTF-8")
            end
    end;
parse(?HELLO, 0, _) -> violation("frame HELLO cannot be read").

%% OPEN

parse_open(Id, <<Transport, Family, Peer:16/binary, PeerPort:16, Local:16/binary, LocalPort:16, TLS:16,
                 Fields/binary>>) ->
    case {transport(Transport), address(Family, Peer), address(Family, Local)} of
        {unknown, _, _} ->
            violation(["frame OPEN with transport ", integer_to_list(Transport)]);
        {_, PeerAddress, LocalAddress} when PeerAddress =:= unknown; LocalAddress =:= unknown ->
            violation(["frame OPEN with an address that is none of family ", integer_to_list(Family)]);
        {Name, PeerAddress, LocalAddress} ->
            parse_fields(Id, Fields, #{}, #{transport => Name, peer => {PeerAddress, PeerPort},
                                            local => {LocalAddress, LocalPort}, tls => TLS})
    end.

parse_fields(Id, <<>>, _, Open) ->
    {open, Id, Open};
parse_fields(_, <<Type, Length:16, _:Length/binary, _/binary>>, Seen, _) when is_map_key(Type, Seen) ->
    violation(["frame OPEN with field ", integer_to_list(Type), " twice"]);
parse_fields(Id, <<Type, Length:16, Value:Length/binary, Rest/binary>>, Seen, Open) ->
    case field(Type) of
        unknown ->
            parse_fields(Id, Rest, Seen#{Type => []}, Open);
        {_, _, Least, Most} when Length < Least; Length > Most ->
            violation(["frame OPEN with ", integer_to_list(Length), " bytes in field ", integer_to_list(Type)]);
        {Key, Kind, _, _} ->
            case Kind =:= octets orelse is_text(Value) of
                true ->
                    %% Copied, because the client's process keeps some of them and a slice would keep the whole read.
                    parse_fields(Id, Rest, Seen#{Type => []}, Open#{Key => binary:copy(Value)});
                false ->
                    violation(["frame OPEN with a text that is not UTF-8 in field ", integer_to_list(Type)])
            end
    end;
parse_fields(_, _, _, _) ->
    violation("frame OPEN ends within a field").

field(1) -> {server_name, text, 0, 4096};
field(2) -> {alpn, octets, 0, 4096};
field(3) -> {exporter, octets, 32, 32};
field(4) -> {unique, octets, 12, 64};
field(5) -> {cipher, text, 0, 4096};
field(6) -> {client_certificate, octets, 32, 32};
field(7) -> {certificate, octets, 32, 64};
field(_) -> unknown.

transport(1) -> tcp;
transport(2) -> tls;
transport(3) -> starttls;
transport(4) -> websocket;
transport(5) -> websocket_tls;
transport(_) -> unknown.

address(4, <<A, B, C, D, 0:96>>) -> {A, B, C, D};
address(6, <<A:16, B:16, C:16, D:16, E:16, F:16, G:16, H:16>>) -> {A, B, C, D, E, F, G, H};
address(_, _) -> unknown.

is_text(Octets) -> is_list(unicode:characters_to_list(Octets)).

%% Writing

-spec challenge(binary(), binary()) -> {Payload :: binary(), Frame :: binary()}.
challenge(Nonce, Instance) ->
    Payload = <<?MAGIC, ?VERSION, ?VERSION, Nonce:16/binary, Instance:16/binary>>,
    {Payload, <<?CHALLENGE, (byte_size(Payload)):24, 0:32, Payload/binary>>}.

%% The proof covers this payload, so it is a function of it.
-spec welcome(#{goes_on := boolean(), features := non_neg_integer(), epoch := non_neg_integer(),
                received := non_neg_integer(), window := pos_integer(), streams := pos_integer(),
                grace_seconds := non_neg_integer(), proof := fun((binary()) -> binary())}) -> binary().
welcome(#{goes_on := GoesOn, features := Features, epoch := Epoch, received := Received, window := Window,
          streams := Streams, grace_seconds := Grace, proof := Prove}) ->
    Flags = case GoesOn of
                true -> 1;
                false -> 0
            end,
    Proven = <<?VERSION, Flags, Features:32, Epoch:32, Received:64, Window:32, Streams:32, Grace:16>>,
    Proof = Prove(Proven),
    <<?WELCOME, (byte_size(Proven) + byte_size(Proof)):24, 0:32, Proven/binary, Proof/binary>>.

-spec ping(binary(), non_neg_integer()) -> binary().
ping(Stamp, Received) -> <<?PING, 16:24, 0:32, Stamp:8/binary, Received:64>>.

-spec pong(binary(), non_neg_integer()) -> binary().
pong(Stamp, Received) -> <<?PONG, 16:24, 0:32, Stamp:8/binary, Received:64>>.

-spec ack(non_neg_integer()) -> binary().
ack(Received) -> <<?ACK, 8:24, 0:32, Received:64>>.

-spec drain() -> binary().
drain() -> <<?DRAIN, 0:24, 0:32>>.

-spec send_data(stream_id(), iodata(), pos_integer()) -> iolist().
send_data(Id, Data, Length) -> [<<?SEND_DATA, Length:24, Id:32>> | Data].

-spec get_data(stream_id(), non_neg_integer()) -> binary().
get_data(Id, Limit) -> <<?GET_DATA, 8:24, Id:32, Limit:64>>.

-spec shutdown(stream_id(), non_neg_integer(), reason(), unicode:chardata()) -> binary().
shutdown(Id, Sent, Reason, Text) ->
    Short = shorten(unicode:characters_to_binary(Text)),
    <<?SHUTDOWN, (9 + byte_size(Short)):24, Id:32, Sent:64, (reason_code(Reason)), Short/binary>>.

%% Cut between characters.
shorten(<<Head:?TEXT_LIMIT_BYTES/binary, _, _/binary>>) ->
    case unicode:characters_to_binary(Head) of
        Whole when is_binary(Whole) -> Whole;
        {incomplete, Whole, _} -> Whole
    end;
shorten(Text) ->
    Text.

%% Proofs

-spec edge_proof(binary(), binary(), binary()) -> binary().
edge_proof(Secret, Challenge, Hello) ->
    crypto:mac(hmac, sha256, Secret, ["megaphone link 1 edge", 0, Challenge, Hello]).

-spec server_proof(binary(), binary(), binary(), binary()) -> binary().
server_proof(Secret, Challenge, Hello, Welcome) ->
    crypto:mac(hmac, sha256, Secret, ["megaphone link 1 server", 0, Challenge, Hello, Welcome]).

%% Whether two proofs are the same, in a time that does not depend on where they differ. (crypto:hash_equals/2 needs
%% Erlang 25.)
-spec equal(binary(), binary()) -> boolean().
equal(A, B) when byte_size(A) =:= byte_size(B) ->
    0 =:= lists:foldl(fun({X, Y}, Difference) -> Difference bor (X bxor Y) end, 0,
                      lists:zip(binary_to_list(A), binary_to_list(B)));
equal(_, _) ->
    false.

%% Reasons

-define(REASONS, [{0, closed}, {1, 'connection-lost'}, {2, 'connection-timeout'}, {3, 'policy-violation'},
                  {4, 'slow-consumer'}, {5, 'resource-constraint'}, {6, 'system-shutdown'}, {7, 'internal-error'},
                  {8, 'remote-connection-failed'}, {16, 'protocol-error'}, {17, 'credit-overstepped'},
                  {18, 'unsupported-version'}, {19, 'not-authorized'}, {20, 'stale-epoch'}, {21, 'link-timeout'},
                  {22, 'too-many-links'}]).

-spec reason_code(reason()) -> byte().
reason_code(Reason) ->
    {Code, Reason} = lists:keyfind(Reason, 2, ?REASONS),
    Code.

%% A reason that is not in the table is kept as its number: a later edge may have more of them.
reason(Code) ->
    case lists:keyfind(Code, 1, ?REASONS) of
        {Code, Reason} -> Reason;
        false -> Code
    end.

reason_text(Reason) when is_atom(Reason) -> atom_to_list(Reason);
reason_text(Code) -> integer_to_list(Code).

violation(Text) -> {violation, 'protocol-error', Text}.

hexadecimal(Number) -> io_lib:format("0x~2.16.0b", [Number]).
