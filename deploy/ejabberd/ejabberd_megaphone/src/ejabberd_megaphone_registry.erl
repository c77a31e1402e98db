%% Which session belongs to which process, for all listeners of this node; also what is set up once: hook and commands.
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone_registry).
-behaviour(gen_server).

-export([start_link/0, session/2, sessions/0, instance/0, drain/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(HOOK_SEQUENCE, 60).

-record(state, {sessions = #{} :: #{<<_:128>> => pid()},
                monitors = #{} :: #{reference() => <<_:128>>}}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The process of this session, started if there is none and `max_links` of the options allows another.
-spec session(<<_:128>>, map()) -> {ok, pid()} | {error, 'too-many-links' | 'internal-error'}.
session(Id, Options) -> gen_server:call(?MODULE, {session, Id, Options}).

-spec sessions() -> [pid()].
sessions() -> gen_server:call(?MODULE, sessions).

%% 16 random octets that tell one start of the server side from another.
-spec instance() -> binary().
instance() -> persistent_term:get(?MODULE).

%% The hook ejabberd_stopping: no new streams on any link.
-spec drain() -> ok.
drain() -> lists:foreach(fun ejabberd_megaphone_session:drain/1, sessions()).

init([]) ->
    process_flag(trap_exit, true),
    persistent_term:put(?MODULE, crypto:strong_rand_bytes(16)),
    ejabberd_hooks:add(c2s_init, ejabberd_megaphone_socket, c2s_init, ?HOOK_SEQUENCE),
    ok = ejabberd_megaphone_login:add_hooks(),
    ejabberd_hooks:add(ejabberd_stopping, ?MODULE, drain, ?HOOK_SEQUENCE),
    ejabberd_commands:register_commands(ejabberd_megaphone_commands:specifications()),
    {ok, #state{}}.

handle_call({session, Id, #{max_links := Most} = Options}, _, #state{sessions = Sessions} = State) ->
    Known = maps:get(Id, Sessions, undefined),
    case is_pid(Known) andalso is_process_alive(Known) of
        true ->
            {reply, {ok, Known}, State};
        false when map_size(Sessions) >= Most, Known =:= undefined ->
            {reply, {error, 'too-many-links'}, State};
        false ->
            case ejabberd_megaphone_links_sup:start_session(Id, Options) of
                {ok, Pid} ->
                    Monitor = erlang:monitor(process, Pid),
                    {reply, {ok, Pid}, State#state{sessions = Sessions#{Id => Pid},
                                                   monitors = (State#state.monitors)#{Monitor => Id}}};
                {error, _} ->
                    {reply, {error, 'internal-error'}, State}
            end
    end;
handle_call(sessions, _, #state{sessions = Sessions} = State) ->
    {reply, maps:values(Sessions), State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({'DOWN', Monitor, process, Pid, _}, #state{sessions = Sessions, monitors = Monitors} = State) ->
    {Id, Left} = maps:take(Monitor, Monitors),
    Others = case Sessions of
                 #{Id := Pid} -> maps:remove(Id, Sessions);
                 _ -> Sessions % it has a new process already
             end,
    {noreply, State#state{sessions = Others, monitors = Left}};
handle_info(_, State) ->
    {noreply, State}.

terminate(_, _) ->
    ejabberd_hooks:delete(c2s_init, ejabberd_megaphone_socket, c2s_init, ?HOOK_SEQUENCE),
    ok = ejabberd_megaphone_login:delete_hooks(),
    ejabberd_hooks:delete(ejabberd_stopping, ?MODULE, drain, ?HOOK_SEQUENCE),
    ejabberd_commands:unregister_commands(ejabberd_megaphone_commands:specifications()).
