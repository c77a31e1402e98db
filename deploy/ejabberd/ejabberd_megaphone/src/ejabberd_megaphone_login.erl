%% Garbage of logins: until its session begins, a client's process collects all of its heap as often as an option says.
%%
%% A login is short and leaves much that is never looked at again. Left alone, Erlang moves that to an old heap, which is
%% not looked through before some thousands of collections, and the memory of all the heaps of a storm stays with the
%% node as carriers with holes. A session works with little garbage at a time; it does so with Erlang's own setting.
%%
%% These functions run in the client's process, except those that add and delete hooks.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_login).

-export([add_hooks/0, delete_hooks/0, started/2]).
%% Hooks
-export([host_up/1, host_down/1, session_begins/1]).

-define(HOOK_SEQUENCE, 50).
-define(HOOKS, [c2s_session_opened, c2s_session_resumed]).

-spec add_hooks() -> ok.
add_hooks() ->
    ejabberd_hooks:add(host_up, ?MODULE, host_up, ?HOOK_SEQUENCE),
    ejabberd_hooks:add(host_down, ?MODULE, host_down, ?HOOK_SEQUENCE),
    lists:foreach(fun host_up/1, ejabberd_option:hosts()).

-spec delete_hooks() -> ok.
delete_hooks() ->
    ejabberd_hooks:delete(host_up, ?MODULE, host_up, ?HOOK_SEQUENCE),
    ejabberd_hooks:delete(host_down, ?MODULE, host_down, ?HOOK_SEQUENCE),
    lists:foreach(fun host_down/1, ejabberd_option:hosts()).

%% Each host has hooks of its own.
-spec host_up(binary()) -> ok.
host_up(Host) ->
    lists:foreach(fun(Hook) -> ejabberd_hooks:add(Hook, Host, ?MODULE, session_begins, ?HOOK_SEQUENCE) end, ?HOOKS).

-spec host_down(binary()) -> ok.
host_down(Host) ->
    lists:foreach(fun(Hook) -> ejabberd_hooks:delete(Hook, Host, ?MODULE, session_begins, ?HOOK_SEQUENCE) end, ?HOOKS).

%% A client's process has started: its state of ejabberd_c2s from now on. Erlang's own setting is kept there.
-spec started(map(), [proplists:property()]) -> map().
started(State, Options) ->
    After = proplists:get_value(login_fullsweep_after, Options),
    State#{?MODULE => process_flag(fullsweep_after, After)}.

%% The client is logged in. Called for every client, of links or not.
-spec session_begins(map()) -> map().
session_begins(#{?MODULE := Before} = State) ->
    _ = process_flag(fullsweep_after, Before),
    maps:remove(?MODULE, State);
session_begins(State) ->
    State.
