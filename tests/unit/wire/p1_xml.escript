#!/usr/bin/env escript
%%! -noinput
%% ejabberd's own XML parser behind standard input and output. A request is the pieces of one stream, each as
%% length and bytes; the answer has a line for each piece, up to the first error: what it made the parser say.
-mode(compile).

main([]) ->
    Port = open_port({fd, 0, 1}, [binary, {packet, 4}, eof]),
    loop(Port).

loop(Port) ->
    receive
        {Port, {data, Request}} ->
            Pieces = split(Request),
            Stream = fxml_stream:new(self(), infinity, [no_gen_server]),
            port_command(Port, lists:join($\n, feed(Stream, Pieces))),
            loop(Port);
        {Port, eof} ->
            ok
    end.

split(<<Size:32, Piece:Size/binary, Rest/binary>>) -> [Piece | split(Rest)];
split(<<>>) -> [].

feed(Stream, []) ->
    fxml_stream:close(Stream),
    [];
feed(Stream, [Piece | Rest]) ->
    Next = fxml_stream:parse(Stream, Piece),
    Said = said(),
    case lists:member(<<"error">>, Said) of
        true -> fxml_stream:close(Next), [lists:join($\s, Said)];
        false -> [lists:join($\s, Said) | feed(Next, Rest)]
    end.

said() ->
    receive
        {xmlstreamstart, Name, _} -> [[<<"header:">>, local(Name)] | said()];
        {xmlstreamelement, {xmlel, Name, _, _}} -> [[<<"element:">>, local(Name)] | said()];
        {xmlstreamend, _} -> [<<"end">> | said()];
        {xmlstreamcdata, _} -> said();
        {xmlstreamerror, _} -> [<<"error">> | said()]
    after 0 -> []
    end.

local(Name) -> lists:last(binary:split(Name, <<":">>, [global])).
