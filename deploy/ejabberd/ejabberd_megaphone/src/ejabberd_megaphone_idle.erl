%% Which streams of a session have had traffic and may be idle by now: a queue in the order of when to look at them.
%%
%% ejabberd never collects the garbage of a process that does nothing, and a login leaves a lot. So the session asks for
%% it, once after each time of traffic. A stream is in the queue at most once, whatever its traffic:
%%
%%   activity   in the queue  traffic                   its time has come
%%   collected  no            added, if there is room:  -
%%                            busy
%%   busy       yes           busy                      added again: waiting
%%   waiting    yes           busy                      its client's process is collected: collected
%%
%% A stream is looked at every half period, so its process is collected when it has been idle for half a period at least,
%% and one period at most if nothing else is in the way. Pure functions; times are milliseconds of a monotonic clock.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_idle).

-export([new/2, is_full/1, is_empty/1, add/3, next/2]).

-export_type([idle/0, activity/0, key/0]).

-type activity() :: collected | busy | waiting.
-type key() :: {ejabberd_megaphone_frame:stream_id(), Serial :: pos_integer()}.

-record(idle, {delay_milliseconds :: non_neg_integer(),
               limit :: non_neg_integer(),
               size = 0 :: non_neg_integer(),
               queue = queue:new() :: queue:queue({Due :: integer(), key()})}).

-opaque idle() :: #idle{}.

%% No more than `Limit` streams are in the queue, and none with a period of 0. Streams that have ended stay in it until
%% their time has come.
-spec new(non_neg_integer(), pos_integer()) -> idle().
new(0, _) -> #idle{delay_milliseconds = 0, limit = 0};
new(PeriodMilliseconds, Limit) -> #idle{delay_milliseconds = PeriodMilliseconds div 2, limit = Limit}.

-spec is_full(idle()) -> boolean().
is_full(#idle{size = Size, limit = Limit}) -> Size >= Limit.

-spec is_empty(idle()) -> boolean().
is_empty(#idle{size = Size}) -> Size =:= 0.

%% One that is not in the queue, which is not full.
-spec add(key(), integer(), idle()) -> idle().
add(Key, Now, #idle{delay_milliseconds = Delay, size = Size, queue = Queue} = Idle) ->
    Idle#idle{size = Size + 1, queue = queue:in({Now + Delay, Key}, Queue)}.

%% The next whose time has come.
-spec next(integer(), idle()) -> {key(), idle()} | none.
next(Now, #idle{size = Size, queue = Queue} = Idle) ->
    case queue:peek(Queue) of
        {value, {Due, Key}} when Due =< Now -> {Key, Idle#idle{size = Size - 1, queue = queue:drop(Queue)}};
        _ -> none
    end.
