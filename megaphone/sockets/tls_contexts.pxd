# Contexts of TLS, compiled interface.
from megaphone.sockets.openssl cimport SSL, SSL_CTX, X509

cdef bytes ALPN

cdef class TLSContext:
    cdef SSL_CTX* context               # its application data is the TLSContext
    cdef readonly str chain
    cdef readonly tuple names
    cdef readonly bytes certificate_hash

cdef class CertificateChoice:
    cdef readonly list contexts
    cdef readonly bint own_records
    cdef dict chosen
    cdef TLSContext context_for(self, str name)

cdef class ClientContext:
    cdef SSL_CTX* context
    cdef bytes server_name
    cdef bint is_address

cdef bytes end_point(X509* certificate)
cdef str asked_name(SSL* ssl)
cdef str shared_name(str name)
