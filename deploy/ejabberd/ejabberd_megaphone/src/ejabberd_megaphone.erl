%% The listener that takes links of Megaphone's edges: what ejabberd's `listen` section needs of a module.
%%
%%   listen:
%%     -
%%       port: 5270
%%       ip: "127.0.0.1"
%%       module: ejabberd_megaphone
%%       secret: "file:/etc/ejabberd/megaphone.secret"
%%
%% For ejabberd 23.01 and later on Erlang 24 and later. Octets travel so:
%%
%%   socket -- handshake -- session ----- streams, frame ---- socket module -- ejabberd_c2s
%%             (10 s)       (one a link)  (pure)              (in the client's process)
%%
%% SPDX-License-Identifier: MIT (which the GPL-2.0 of ejabberd allows to be loaded into it)

-module(ejabberd_megaphone).

-export([start/3, start_link/3, accept/1, tcp_init/2, listen_options/0, listen_opt_type/1]).
%% Called by ejabberd's package installer
-export([pre_uninstall/0, stop/1]).

-define(LEAST_SECRET_BYTES, 16).
-define(MOST_SECRET_BYTES, 1024).

-spec start(gen_tcp, inet:socket(), map()) -> {ok, pid()}.
start(gen_tcp, Socket, Options) -> ejabberd_megaphone_handshake:start(Socket, Options).

-spec start_link(gen_tcp, inet:socket(), map()) -> {ok, pid()}.
start_link(gen_tcp, Socket, Options) -> ejabberd_megaphone_handshake:start_link(Socket, Options).

-spec accept(pid()) -> ok.
accept(Pid) -> ejabberd_megaphone_handshake:proceed(Pid).

%% Called once by a listener's process; what it returns is the third argument of start_link/3.
-spec tcp_init(inet:socket(), [{atom(), term()}]) -> map().
tcp_init(_, Listed) ->
    ok = ejabberd_megaphone_links_sup:ensure_started(),
    %% ejabberd leaves out options that have their default.
    Options = maps:merge(maps:from_list([Pair || {_, _} = Pair <- listen_options()]), maps:from_list(Listed)),
    Options#{tls := tls_options(Options), c2s => c2s_options(Options, Listed)}.

tls_options(#{tls := false}) ->
    false;
tls_options(#{certfile := Certificate, cafile := Authorities}) ->
    {ok, _} = application:ensure_all_started(ssl),
    Own = [{versions, ['tlsv1.3', 'tlsv1.2']}, {certfile, Certificate}],
    case Authorities of
        <<>> -> Own;
        _ -> [{cacertfile, Authorities}, {verify, verify_peer}, {fail_if_no_peer_cert, true} | Own]
    end.

%% What a client's process is told: first what our hook c2s_init takes, then our own options, then those of the first
%% ejabberd_c2s listener, then a limit for the size of a stanza, which must not be missing.
c2s_options(#{login_fullsweep_after := FullsweepAfter}, Listed) ->
    Own = [Pair || {Key, _} = Pair <- Listed, lists:member(Key, [access, shaper, max_stanza_size, max_fsm_queue])],
    [{login_fullsweep_after, FullsweepAfter} |
     lists:ukeymerge(1, lists:keysort(1, Own),
                     lists:ukeymerge(1, lists:keysort(1, ejabberd_c2s_config:get_c2s_limits()),
                                     [{max_stanza_size, 262144}]))].

-spec listen_options() -> [{atom(), term()} | atom()].
listen_options() ->
    [secret,
     {max_links, 64},
     {max_streams, 100000},
     {window, 65536},
     {grace, 30000},
     {stream_limit, 1048576},
     {session_limit, 67108864},
     {slow_consumer_timeout, 15000},
     {idle_gc, 1},
     {login_fullsweep_after, 0},
     {tls, false},
     {certfile, <<>>},
     {cafile, <<>>},
     {access, all},
     {shaper, none},
     {max_stanza_size, infinity},
     {max_fsm_queue, 10000},
     {backlog, 128}].

-spec listen_opt_type(atom()) -> econf:validator().
listen_opt_type(secret) ->
    econf:and_then(econf:binary(), fun secret/1);
listen_opt_type(max_links) ->
    econf:int(1, 10000);
listen_opt_type(max_streams) ->
    econf:int(1, 16777216);
listen_opt_type(window) ->
    econf:int(4096, 1048576);
listen_opt_type(grace) ->
    econf:and_then(econf:timeout(second), fun grace/1);
listen_opt_type(slow_consumer_timeout) ->
    econf:timeout(second);
listen_opt_type(idle_gc) ->
    econf:int(0, 3600);
listen_opt_type(login_fullsweep_after) ->
    econf:int(0, 65535);
listen_opt_type(stream_limit) ->
    econf:int(65536, 1073741824);
listen_opt_type(session_limit) ->
    econf:int(1048576, 17179869184);
listen_opt_type(Option) ->
    %% Those that other listeners have too.
    ejabberd_listener:listen_opt_type(Option).

%% The secret itself, or where it stands: then a line end after it does not count.
secret(<<"file:", Path/binary>>) ->
    case file:read_file(Path) of
        {ok, Content} ->
            checked_secret(iolist_to_binary(string:trim(Content, trailing, "\r\n")));
        {error, Reason} ->
            econf:fail({invalid_syntax, io_lib:format("cannot read ~ts: ~ts", [Path, file:format_error(Reason)])})
    end;
secret(Secret) ->
    checked_secret(Secret).

checked_secret(Secret) when byte_size(Secret) >= ?LEAST_SECRET_BYTES, byte_size(Secret) =< ?MOST_SECRET_BYTES ->
    Secret;
checked_secret(Secret) ->
    econf:fail({invalid_syntax, io_lib:format("the secret has ~B bytes, it must have ~B to ~B",
                                              [byte_size(Secret), ?LEAST_SECRET_BYTES, ?MOST_SECRET_BYTES])}).

%% 16 bits of seconds in WELCOME.
grace(Milliseconds) when Milliseconds =< 65535000 -> Milliseconds;
grace(_) -> econf:fail({invalid_syntax, "grace is at most 65535 seconds"}).

-spec pre_uninstall() -> ok.
pre_uninstall() -> ejabberd_megaphone_links_sup:stop().

%% The installer takes each package for a module that runs on every host.
-spec stop(binary()) -> ok.
stop(_) -> ok.
