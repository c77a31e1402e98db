%% Commands for people and for the HTTP API: which links there are and which streams they carry.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_commands).

-include("ejabberd_commands.hrl").

-export([specifications/0, links/0, streams/1]).

-spec specifications() -> [#ejabberd_commands{}].
specifications() ->
    [#ejabberd_commands{
        name = megaphone_links, tags = [connections],
        desc = "List the links of Megaphone's edges",
        longdesc = "One line for each session: its edge's name and address, whether it has a socket now, the epoch "
                   "(how many sockets it has had), its streams, bytes since it began, bytes not acknowledged, bytes "
                   "that wait for credit, and the last round trip in microseconds (-1: not measured yet).",
        module = ?MODULE, function = links, args = [],
        result_example = [{<<"edge-1/0">>, <<"d41d8cd98f00b204e9800998ecf8427e">>, <<"127.0.0.1:41234">>,
                           <<"attached">>, 1, 5000, 1234567, 7654321, 0, 0, 180}],
        result = {links, {list, {link, {tuple, [{name, string}, {session, string}, {peer, string}, {state, string},
                                                {epoch, integer}, {streams, integer}, {received_bytes, integer},
                                                {sent_bytes, integer}, {unacknowledged_bytes, integer},
                                                {queued_bytes, integer}, {round_trip_microseconds, integer}]}}}}},
     #ejabberd_commands{
        name = megaphone_streams, tags = [connections],
        desc = "List the streams of one link, or of those of one edge",
        longdesc = "The argument is a link's session or name as megaphone_links shows it. One line for each stream: "
                   "its id, the client's address and port, how the client is connected to the edge, the stream's "
                   "state, bytes received and sent, bytes held for the client's process, bytes that wait for credit.",
        module = ?MODULE, function = streams, args = [{link, binary}],
        args_desc = ["Session or name of a link"], args_example = [<<"edge-1/0">>],
        result_example = [{17, <<"192.0.2.7">>, 51234, <<"starttls">>, <<"open">>, 2048, 4096, 0, 0}],
        result = {streams, {list, {stream, {tuple, [{id, integer}, {address, string}, {port, integer},
                                                    {transport, string}, {state, string}, {received_bytes, integer},
                                                    {sent_bytes, integer}, {held_bytes, integer},
                                                    {queued_bytes, integer}]}}}}}].

-spec links() -> [tuple()].
links() -> lists:sort([link_line(Info) || {_, Info} <- infos()]).

link_line(#{name := Name, session := Session, peer := Peer, attached := Attached, epoch := Epoch, streams := Streams,
            received_bytes := Received, sent_bytes := Sent, unacknowledged_bytes := Unacknowledged,
            queued_bytes := Queued, round_trip_microseconds := RoundTrip}) ->
    State = case Attached of
                true -> <<"attached">>;
                false -> <<"detached">>
            end,
    Shown = case RoundTrip of
                undefined -> -1;
                _ -> RoundTrip
            end,
    {Name, hexadecimal(Session), Peer, State, Epoch, Streams, Received, Sent, Unacknowledged, Queued, Shown}.

-spec streams(binary()) -> [tuple()].
streams(Link) ->
    [stream_line(Stream) || {Pid, #{name := Name, session := Session}} <- infos(),
                            Link =:= Name orelse Link =:= hexadecimal(Session),
                            Stream <- ask(fun() -> ejabberd_megaphone_session:streams(Pid) end, [])].

stream_line({Id, {Address, Port}, Transport, State, Received, Sent, Held, Queued}) ->
    {Id, list_to_binary(inet:ntoa(Address)), Port, atom_to_binary(Transport, utf8), atom_to_binary(State, utf8),
     Received, Sent, Held, Queued}.

infos() ->
    [{Pid, Info} || Pid <- ejabberd_megaphone_registry:sessions(),
                    Info <- ask(fun() -> [ejabberd_megaphone_session:info(Pid)] end, [])].

%% A session that ends while it is asked is left out.
ask(Question, Otherwise) ->
    try Question()
    catch exit:{_, {gen_server, call, _}} -> Otherwise
    end.

hexadecimal(Octets) ->
    iolist_to_binary([io_lib:format("~2.16.0b", [Octet]) || <<Octet>> <= Octets]).
