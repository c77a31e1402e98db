# TLS session tickets, compiled interface.
from megaphone.sockets.openssl cimport EVP_CIPHER_CTX, EVP_MAC_CTX, SSL

cdef int on_ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int encrypt) noexcept
