-- The options of mod_megaphone, each checked; a wrong one ends the loading of the module with its name and the reason.

local SECRET_MIN_BYTES, SECRET_MAX_BYTES = 16, 1024;

local function refuse(name, reason, ...)
	error(name .. ": " .. reason:format(...), 0);
end

local function whole_number(name, default, least, most)
	local value = module:get_option(name, default);
	if math.type(value) ~= "integer" or value < least or value > most then
		refuse(name, "has to be a whole number from %d to %d, not %s", least, most, tostring(value));
	end
	return value;
end

local function read_secret()
	local secret, path = module:get_option("megaphone_secret"), module:get_option("megaphone_secret_file");
	local name = "megaphone_secret";
	if secret ~= nil and path ~= nil then
		refuse(name, "give it or megaphone_secret_file, not both");
	elseif path ~= nil then
		name = "megaphone_secret_file";
		if type(path) ~= "string" then
			refuse(name, "has to be a path");
		end
		local file, reason = io.open(module:get_option_path(name, nil, "config"), "rb");
		if not file then
			refuse(name, "%s", reason);
		end
		secret = file:read(SECRET_MAX_BYTES + 2) or "";
		file:close();
		secret = secret:gsub("\r?\n$", "");
	elseif secret == nil then
		refuse(name, "is missing; it or megaphone_secret_file has to be set");
	end
	if type(secret) ~= "string" or #secret < SECRET_MIN_BYTES or #secret > SECRET_MAX_BYTES then
		refuse(name, "the secret has to be %d to %d bytes", SECRET_MIN_BYTES, SECRET_MAX_BYTES);
	end
	return secret;
end

local function read_ssl()
	local ssl = module:get_option("megaphone_ssl");
	if ssl ~= nil and type(ssl) ~= "table" then
		refuse("megaphone_ssl", "has to be a table, as Prosody's option ssl is");
	end
	return ssl;
end

-- As net.server reads it for sockets.
local function read_timeout_seconds()
	local network = module:get_option("network_settings");
	return type(network) == "table" and tonumber(network.read_timeout) or 14 * 60;
end

return {
	secret = read_secret();
	ssl = read_ssl();
	streams_max = whole_number("megaphone_max_streams", 100000, 1, 4294967295);
	links_max = whole_number("megaphone_max_links", 64, 1, 10000);
	grace_seconds = whole_number("megaphone_grace", 30, 0, 3600);
	window_bytes = whole_number("megaphone_window", 65536, 4096, 1048576);
	queue_bytes = whole_number("megaphone_queue", 1048576, 65536, 67108864);
	read_timeout_seconds = read_timeout_seconds();
};
