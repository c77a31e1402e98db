%% For tests: commands that break a link's session, and that say what the node and its clients' processes use.
%% Compiled beside the module; it is no part of what operators install.

-module(mod_test_megaphone).
-behaviour(gen_mod).

-include("ejabberd_commands.hrl").

-define(HOLDING, test_megaphone_holding).

-export([start/2, stop/1, depends/2, mod_options/1, mod_doc/0]).
-export([kill_session/1, memory/0, suspend/2, resume/0, client_memory/1, watch_collections/1, collections/1,
         fullsweep_after/1]).

start(_, _) ->
    ejabberd_commands:register_commands(commands()).

stop(_) ->
    ejabberd_commands:unregister_commands(commands()).

depends(_, _) -> [].
mod_options(_) -> [].
mod_doc() -> #{}.

commands() ->
    [#ejabberd_commands{name = test_kill_session, module = ?MODULE, function = kill_session,
                        args = [{link, binary}], result = {killed, integer}},
     #ejabberd_commands{name = test_suspend_clients, module = ?MODULE, function = suspend,
                        args = [{link, binary}, {milliseconds, integer}], result = {suspended, integer}},
     #ejabberd_commands{name = test_resume_clients, module = ?MODULE, function = resume, args = [],
                        result = {resumed, integer}},
     #ejabberd_commands{name = test_client_memory, module = ?MODULE, function = client_memory, args = [{link, binary}],
                        result = {bytes, {list, {bytes, integer}}}},
     #ejabberd_commands{name = test_watch_collections, module = ?MODULE, function = watch_collections,
                        args = [{link, binary}], result = {watched, integer}},
     #ejabberd_commands{name = test_collections, module = ?MODULE, function = collections, args = [{jid, binary}],
                        result = {collections, integer}},
     #ejabberd_commands{name = test_fullsweep_after, module = ?MODULE, function = fullsweep_after,
                        args = [{link, binary}], result = {settings, {list, {setting, integer}}}},
     #ejabberd_commands{name = test_memory, module = ?MODULE, function = memory, args = [],
                        result = {memory, {tuple, [{total, integer}, {processes, integer}, {binary, integer},
                                                   {process_count, integer}]}}}].

%% Kill the process of each session with this name, as a defect would.
kill_session(Name) ->
    length([exit(Pid, kill) || Pid <- named(Name)]).

%% The clients' processes of the link stand still for so long, as under a shaper, or until `resume`. When this returns
%% they do.
suspend(Name, Milliseconds) ->
    Clients = clients(Name),
    Asking = self(),
    Holding = spawn(fun() ->
                            [erlang:suspend_process(Pid) || Pid <- Clients],
                            Asking ! {suspended, self()},
                            receive resume -> ok after Milliseconds -> ok end
                    end),
    catch unregister(?HOLDING),
    register(?HOLDING, Holding),
    receive {suspended, Holding} -> length(Clients) after 5000 -> -1 end.

%% End what `suspend` did last, unless its time has passed; how many of those there were.
resume() ->
    case whereis(?HOLDING) of
        undefined -> 0;
        Holding -> Holding ! resume, 1
    end.

%% What the process of each client takes, as it is.
client_memory(Name) ->
    [Bytes || Pid <- clients(Name), {memory, Bytes} <- [process_info(Pid, memory)]].

%% After how many collections the process of each client collects all of its heap.
fullsweep_after(Name) ->
    [proplists:get_value(fullsweep_after, Setting)
     || Pid <- clients(Name), {garbage_collection, Setting} <- [process_info(Pid, garbage_collection)]].

%% Count from now on which clients' processes this link's session has had collected.
watch_collections(Name) ->
    Sessions = named(Name),
    Tracer = spawn(fun() -> count_collections(#{}) end),
    catch unregister(?MODULE),
    register(?MODULE, Tracer),
    [erlang:trace(Session, true, ['receive', {tracer, Tracer}]) || Session <- Sessions],
    length(Sessions).

count_collections(Counts) ->
    receive
        {trace, _, 'receive', {garbage_collect, {_, Pid}, true}} ->
            count_collections(maps:update_with(Pid, fun(Count) -> Count + 1 end, 1, Counts));
        {ask, From, Pid} ->
            From ! {collections, maps:get(Pid, Counts, 0)},
            count_collections(Counts);
        _ ->
            count_collections(Counts)
    end.

%% How often that was so for the process of this client. Each time counts two, as the session asks twice.
collections(JID) ->
    {User, Server, Resource} = jid:split(jid:decode(JID)),
    ?MODULE ! {ask, self(), ejabberd_sm:get_session_pid(User, Server, Resource)},
    receive {collections, Count} -> Count after 5000 -> -1 end.

clients(Name) ->
    [Pid || Session <- named(Name), {monitors, Monitors} <- [process_info(Session, monitors)],
            {process, Pid} <- Monitors].

named(Name) ->
    [Pid || Pid <- ejabberd_megaphone_registry:sessions(),
            maps:get(name, ejabberd_megaphone_session:info(Pid)) =:= Name].

%% After a garbage collection of every process.
memory() ->
    [erlang:garbage_collect(Pid) || Pid <- processes()],
    {erlang:memory(total), erlang:memory(processes), erlang:memory(binary), erlang:system_info(process_count)}.
