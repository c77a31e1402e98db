-- What modules ask a client's connection beside reading and writing: its addresses, its TLS, to pause it.

local type = type;

local connection = {};

function connection:pause() self.paused = true; return true; end

function connection:resume()
	self.paused = false;
	if self.held then
		self.link:settle_later(self);
	end
	return true;
end

function connection:pause_writes() self.write_locked = true; end

function connection:resume_writes()
	self.write_locked = false;
	self.link:ready(self);
end

-- mod_limits: bytes per second from the client, 0 for no limit.
function connection:setlimit(bytes_per_second)
	self.seconds_per_byte = bytes_per_second > 0 and 1 / bytes_per_second or nil;
end

function connection:setoption() return true; end -- socket options are the edge's affair
function connection:ip() return self.peername; end
function connection:port() return self.peerport; end
function connection:clientport() return self.peerport; end
function connection:serverport() return self.sockport; end

function connection:server()
	local name, port = self.sockname, self.sockport;
	local function number() return port; end
	return { ip = function () return name; end, port = number, serverport = number };
end

-- Not the edge's address: who looks at it, as mod_edge_interfaces does, means an address of this host.
function connection:getsockname() return nil, "not a socket"; end
function connection:getpeername() return self.peername, self.peerport; end

function connection:ssl() return self.protocol ~= nil; end
function connection:sslctx() end

-- In 0.12 TLS is a matter of the socket below the connection, in 13 of the connection; it is one object here.
function connection:socket() return self; end

function connection:info(key)
	if not self.protocol then return nil, "no TLS"; end
	local cipher = self.cipher;
	local info = { protocol = self.protocol, cipher = cipher and cipher:match("^[%w_-]+$") or "unknown" };
	if type(key) == "string" then return info[key]; end
	return info;
end
connection.ssl_info = connection.info;

-- RFC 5929's tls-unique, whichever of the two Finished messages that is: the edge hands over the right one.
function connection:getpeerfinished() return self.tls_unique; end
connection.ssl_peerfinished = connection.getpeerfinished;

-- RFC 9266's tls-exporter; other labels are known to the edge alone.
function connection:ssl_exportkeyingmaterial(label, bytes, context)
	if label == "EXPORTER-Channel-Binding" and bytes == 32 and (context == nil or context == "") then
		return self.tls_exporter;
	end
end

function connection:getsniname() return self.server_name; end
function connection:getalpn() return self.alpn; end

return connection;
