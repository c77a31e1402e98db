# What TLS reads and writes through, compiled interface.
from megaphone.sockets.openssl cimport BIO
from megaphone.wire.tls_records cimport Input, Output

cdef BIO* shared_bio() noexcept

# Ciphertext that has come; whoever sets it keeps it valid until all is taken.
cdef Input* tls_input() noexcept

# Ciphertext that TLS has produced and nobody has taken yet.
cdef Output* tls_output() noexcept
