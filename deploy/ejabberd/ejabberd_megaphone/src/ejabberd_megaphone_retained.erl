%% What has been sent on a link and is not acknowledged yet: kept so that a new socket can send it again.
%%
%% Places in the byte stream are counts from the session's beginning. Pure functions.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_retained).

-export([new/1, append/3, acknowledge/2, resume/2, missing/1, sent/1, unacknowledged/1]).

-export_type([retained/0]).

-record(retained, {keeps :: boolean(),
                   batches = queue:new() :: queue:queue({End :: non_neg_integer(), iodata()}),
                   sent = 0 :: non_neg_integer(),
                   acknowledged = 0 :: non_neg_integer()}).

-opaque retained() :: #retained{}.

%% With false it only counts: the edge does not want sessions to go on.
-spec new(boolean()) -> retained().
new(Keeps) -> #retained{keeps = Keeps}.

-spec append(iodata(), non_neg_integer(), retained()) -> retained().
append(_, Size, #retained{keeps = false, sent = Sent} = Retained) ->
    Retained#retained{sent = Sent + Size};
append(Data, Size, #retained{batches = Batches, sent = Sent} = Retained) ->
    End = Sent + Size,
    Retained#retained{batches = queue:in({End, Data}, Batches), sent = End}.

%% The other side has received so many bytes in all; an error if it cannot have. Less than it has said before is old
%% news: a frame that is sent again on a new socket says what was true when it was made.
-spec acknowledge(non_neg_integer(), retained()) -> {ok, retained()} | error.
acknowledge(Received, #retained{sent = Sent}) when Received > Sent ->
    error;
acknowledge(Received, #retained{acknowledged = Before} = Retained) when Received < Before ->
    {ok, Retained};
acknowledge(Received, #retained{batches = Batches} = Retained) ->
    {ok, Retained#retained{batches = drop(Received, Batches), acknowledged = Received}}.

%% The same for a new socket: then less than before is an error too, because it is no longer kept.
-spec resume(non_neg_integer(), retained()) -> {ok, retained()} | error.
resume(Received, #retained{acknowledged = Before}) when Received < Before -> error;
resume(Received, Retained) -> acknowledge(Received, Retained).

drop(Received, Batches) ->
    case queue:peek(Batches) of
        {value, {End, _}} when End =< Received -> drop(Received, queue:drop(Batches));
        _ -> Batches
    end.

%% Everything after what is acknowledged.
-spec missing(retained()) -> iodata().
missing(#retained{batches = Batches, acknowledged = Received}) ->
    case queue:out(Batches) of
        {empty, _} -> [];
        {{value, {End, First}}, Rest} ->
            Bytes = iolist_to_binary(First),
            Known = byte_size(Bytes) - (End - Received),
            <<_:Known/binary, Missing/binary>> = Bytes,
            [Missing | [Data || {_, Data} <- queue:to_list(Rest)]]
    end.

-spec sent(retained()) -> non_neg_integer().
sent(#retained{sent = Sent}) -> Sent.

-spec unacknowledged(retained()) -> non_neg_integer().
unacknowledged(#retained{sent = Sent, acknowledged = Acknowledged}) -> Sent - Acknowledged.
