-- Clients that arrive on edge_interfaces come through a proxy, such as Megaphone, which has ended their TLS. Prosody then
-- treats them as encrypted: it offers every mechanism, and no second STARTTLS. Other interfaces stay as they are, and so
-- do server-to-server connections.
--
--   edge_interfaces = { "127.0.0.1", "::1" } -- addresses of this host on which nobody but the proxy can connect
--
-- For Prosody 0.12 and later.

local edge_interfaces = module:get_option_set("edge_interfaces", { "127.0.0.1", "::1" });

-- Priority: mod_tls and mod_saslauth add their features at 0, and look at what is set here.
module:hook("stream-features", function (event)
	local session = event.origin;
	if session.type ~= "c2s_unauthed" or session.secure then return; end
	local address = session.conn:socket():getsockname();
	if edge_interfaces:contains(address) then
		session.secure = true;
		session.conn.starttls = false;
	end
end, 100);
