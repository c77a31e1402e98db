%% Supervisors of what outlives a link's socket: the registry of sessions, and the sessions.
%%
%% (The processes that shake hands with new sockets are under the listener's own supervisor, ejabberd_megaphone_sup.)
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_links_sup).
-behaviour(supervisor).

-export([ensure_started/0, stop/0, start_session/2]).
-export([start_link/1, init/1]).

-define(SESSIONS, ejabberd_megaphone_sessions_sup).

%% May be called at each start of a listener.
-spec ensure_started() -> ok.
ensure_started() ->
    case supervisor:start_child(ejabberd_sup, child(?MODULE, links)) of
        {ok, _} -> ok;
        {error, {already_started, _}} -> ok
    end.

-spec stop() -> ok.
stop() ->
    _ = supervisor:terminate_child(ejabberd_sup, ?MODULE),
    _ = supervisor:delete_child(ejabberd_sup, ?MODULE),
    ok.

-spec start_session(<<_:128>>, map()) -> {ok, pid()} | {error, term()}.
start_session(Id, Options) -> supervisor:start_child(?SESSIONS, [Id, Options]).

-spec start_link(links | sessions) -> {ok, pid()} | ignore | {error, term()}.
start_link(links) -> supervisor:start_link({local, ?MODULE}, ?MODULE, links);
start_link(sessions) -> supervisor:start_link({local, ?SESSIONS}, ?MODULE, sessions).

init(links) ->
    Registry = #{id => ejabberd_megaphone_registry, start => {ejabberd_megaphone_registry, start_link, []},
                 restart => permanent, shutdown => 5000, type => worker},
    {ok, {#{strategy => one_for_all, intensity => 5, period => 10}, [Registry, child(?SESSIONS, sessions)]}};
init(sessions) ->
    %% Temporary: the edge begins a new session if one is gone.
    {ok, {#{strategy => simple_one_for_one},
          [#{id => session, start => {ejabberd_megaphone_session, start_link, []}, restart => temporary,
             shutdown => 10000, type => worker}]}}.

child(Name, Which) ->
    #{id => Name, start => {?MODULE, start_link, [Which]}, restart => permanent, shutdown => infinity,
      type => supervisor}.
