-- A throw-away Prosody 0.12. prosody.py fills the dollar places; nothing here reads or writes outside its directory.

run_as_root = $run_as_root -- it only listens on loopback and writes below its own directory
pidfile = "$directory/prosody.pid"
data_path = "$directory/data"
log = { { levels = { min = "$log_level" }, to = "console", timestamps = true } }
network_settings = { tcp_backlog = 4096 }

modules_disabled = { "s2s" } -- a test server speaks to nobody

authentication = "internal_hashed"
allow_registration = false
tcp_keepalives = false
smacks_hibernation_time = 60
muc_tombstones = false

$listeners

VirtualHost "$domain"
VirtualHost "$second_domain"

Component "$rooms" "muc"
	modules_enabled = { "muc_mam" }
	restrict_room_creation = false
