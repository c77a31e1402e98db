#!/usr/bin/env escript
%% The queue of streams that may be idle, by itself: stops with a badmatch where it is wrong, else says "right".
%%
%%   escript ejabberd_idle.escript EBIN

main([Ebin]) ->
    true = code:add_patha(Ebin),
    order(),
    limit(),
    off(),
    io:format("right~n").

%% In the order they came, none before half a period is over.
order() ->
    First = ejabberd_megaphone_idle:add({7, 1}, -5000, ejabberd_megaphone_idle:new(3000, 10)),
    Both = ejabberd_megaphone_idle:add({8, 2}, -4000, First),
    none = ejabberd_megaphone_idle:next(-3501, Both),
    {{7, 1}, One} = ejabberd_megaphone_idle:next(-3500, Both),
    none = ejabberd_megaphone_idle:next(-3500, One),
    false = ejabberd_megaphone_idle:is_empty(One),
    {{8, 2}, None} = ejabberd_megaphone_idle:next(0, One),
    true = ejabberd_megaphone_idle:is_empty(None),
    none = ejabberd_megaphone_idle:next(0, None).

%% There is room again when one has been taken out.
limit() ->
    Full = lists:foldl(fun(Id, Idle) ->
                               false = ejabberd_megaphone_idle:is_full(Idle),
                               ejabberd_megaphone_idle:add({Id, Id}, 0, Idle)
                       end, ejabberd_megaphone_idle:new(1000, 100), lists:seq(1, 100)),
    true = ejabberd_megaphone_idle:is_full(Full),
    {{1, 1}, Less} = ejabberd_megaphone_idle:next(500, Full),
    false = ejabberd_megaphone_idle:is_full(Less).

%% With a period of 0 nothing may be added.
off() ->
    true = ejabberd_megaphone_idle:is_full(ejabberd_megaphone_idle:new(0, 100)).
