#!/usr/bin/env escript
%% What the module's codec makes of frames: hex lines in, one line out for each. `refused` and the reason and text, or
%% the frame's fields; frames of a server are taken apart here and made anew by the codec.
%%
%%   escript ejabberd_frames.escript EBIN read|make|prove
%%
%% With `prove` a line is the payloads of CHALLENGE, HELLO and WELCOME; out come both proofs, made with the secret
%% 00 01 02 ... 1f.

main([Ebin, Mode]) ->
    true = code:add_patha(Ebin),
    ok = io:setopts([{encoding, latin1}]),
    lines(list_to_atom(Mode)).

lines(Mode) ->
    case io:get_line("") of
        eof -> ok;
        Line ->
            Parts = [binary:decode_hex(list_to_binary(Part)) || Part <- string:tokens(Line, " \n")],
            io:format("~s~n", [answer(Mode, Parts)]),
            lines(Mode)
    end.

answer(read, [Octets]) ->
    %% Whatever the split, the answer is the same; and what follows a frame is left alone.
    Whole = read(Octets),
    case Whole of
        ["refused" | _] -> ok;
        _ ->
            [more = ejabberd_megaphone_frame:next(binary:part(Octets, 0, N)) || N <- lists:seq(0, byte_size(Octets) - 1)],
            {_, <<"tail">>, Size} = ejabberd_megaphone_frame:next(<<Octets/binary, "tail">>),
            Size = byte_size(Octets)
    end,
    Whole;
answer(make, [<<1, _:24, 0:32, _:6/binary, Nonce:16/binary, Instance:16/binary>>]) ->
    {_, Frame} = ejabberd_megaphone_frame:challenge(Nonce, Instance),
    hex(Frame);
answer(make, [<<3, _:24, 0:32, 1, Flags, Features:32, Epoch:32, Received:64, Window:32, Streams:32, Grace:16, Proof/binary>>]) ->
    hex(ejabberd_megaphone_frame:welcome(#{goes_on => Flags =:= 1, features => Features, epoch => Epoch,
                                           received => Received, window => Window, streams => Streams,
                                           grace_seconds => Grace, proof => fun(_) -> Proof end}));
answer(make, [<<4, _:24, 0:32, Stamp:8/binary, Received:64>>]) -> hex(ejabberd_megaphone_frame:ping(Stamp, Received));
answer(make, [<<5, _:24, 0:32, Stamp:8/binary, Received:64>>]) -> hex(ejabberd_megaphone_frame:pong(Stamp, Received));
answer(make, [<<6, _:24, 0:32, Received:64>>]) -> hex(ejabberd_megaphone_frame:ack(Received));
answer(make, [<<7, _:24, 0:32>>]) -> hex(ejabberd_megaphone_frame:drain());
answer(make, [<<16#12, Length:24, Id:32, Data/binary>>]) -> hex(ejabberd_megaphone_frame:send_data(Id, [Data], Length));
answer(make, [<<16#13, _:24, Id:32, Limit:64>>]) -> hex(ejabberd_megaphone_frame:get_data(Id, Limit));
answer(make, [<<16#14, _:24, Id:32, Sent:64, _, Text/binary>> = Octets]) ->
    {{shutdown, Id, Sent, Reason, Text}, <<>>, _} = ejabberd_megaphone_frame:next(Octets),
    hex(ejabberd_megaphone_frame:shutdown(Id, Sent, Reason, Text));
answer(prove, [Challenge, Hello, Welcome]) ->
    Secret = list_to_binary(lists:seq(0, 31)),
    [hex(ejabberd_megaphone_frame:edge_proof(Secret, Challenge, without_proof(Hello))), " ",
     hex(ejabberd_megaphone_frame:server_proof(Secret, Challenge, Hello, without_proof(Welcome)))].

without_proof(Payload) -> binary:part(Payload, 0, byte_size(Payload) - 32).

read(Octets) ->
    case ejabberd_megaphone_frame:next(Octets) of
        {violation, Reason, Text} -> ["refused", [" ", atom_to_list(Reason), ": ", Text]];
        more -> ["more"];
        {Frame, <<>>, _} -> frame(Frame)
    end.

frame({hello, #{features := Features, session := Session, epoch := Epoch, received := Received, window := Window,
                name := Name, proof := Proof}}) ->
    fields("HELLO", [0, Features, Session, Epoch, Received, Window, Name, Proof]);
frame({open, Id, #{transport := Transport, peer := {_, Port}, local := {_, Local}, tls := TLS} = Open}) ->
    fields("OPEN", [Id, atom_to_list(Transport), Port, Local, TLS |
                    [maps:get(Key, Open, "-") || Key <- [server_name, alpn, exporter, unique, cipher, client_certificate,
                                                         certificate]]]);
frame(drain) -> fields("DRAIN", [0]);
frame({shutdown, Id, Sent, Reason, Text}) ->
    Code = case is_atom(Reason) of
               true -> ejabberd_megaphone_frame:reason_code(Reason);
               false -> Reason
           end,
    fields("SHUTDOWN", [Id, Sent, Code, Text]);
frame({Name, A}) -> fields(string:uppercase(atom_to_list(Name)), [0, A]);
frame({Name, A, B}) when Name =:= ping; Name =:= pong -> fields(string:uppercase(atom_to_list(Name)), [0, A, B]);
frame({Name, Id, A}) -> fields(string:uppercase(atom_to_list(Name)), [Id, A]).

fields(Name, Values) -> lists:join(" ", [Name | [field(Value) || Value <- Values]]).

field(Value) when is_integer(Value) -> integer_to_list(Value);
field(Value) when is_binary(Value) -> ["x", hex(Value)];
field(Value) -> Value.

hex(Octets) -> string:lowercase(binary:encode_hex(iolist_to_binary(Octets))).
