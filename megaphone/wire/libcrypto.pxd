# The part of OpenSSL 3's libcrypto that the TLS record layer uses; nothing here needs libssl.

cdef extern from "openssl/crypto.h":
    void OPENSSL_cleanse(void*, size_t)

cdef extern from "openssl/err.h":
    void ERR_clear_error()

cdef extern from "openssl/params.h":
    ctypedef struct OSSL_PARAM:
        void* data
        size_t data_size
    OSSL_PARAM OSSL_PARAM_construct_int(const char*, int*)
    OSSL_PARAM OSSL_PARAM_construct_octet_string(const char*, void*, size_t)
    OSSL_PARAM OSSL_PARAM_construct_utf8_string(const char*, char*, size_t)
    OSSL_PARAM OSSL_PARAM_construct_end()

cdef extern from "openssl/core_names.h":
    const char* OSSL_KDF_PARAM_MODE
    const char* OSSL_KDF_PARAM_DIGEST
    const char* OSSL_KDF_PARAM_KEY
    const char* OSSL_KDF_PARAM_INFO
    const char* OSSL_CIPHER_PARAM_AEAD_TAG

cdef extern from "openssl/kdf.h":
    ctypedef struct EVP_KDF:
        pass
    ctypedef struct EVP_KDF_CTX:
        pass
    int EVP_KDF_HKDF_MODE_EXPAND_ONLY
    EVP_KDF* EVP_KDF_fetch(void*, const char*, const char*)
    EVP_KDF_CTX* EVP_KDF_CTX_new(EVP_KDF*)
    void EVP_KDF_CTX_free(EVP_KDF_CTX*)
    int EVP_KDF_CTX_set_params(EVP_KDF_CTX*, const OSSL_PARAM*)
    int EVP_KDF_derive(EVP_KDF_CTX*, unsigned char*, size_t, const OSSL_PARAM*)

cdef extern from "openssl/evp.h":
    ctypedef struct EVP_CIPHER_CTX:
        pass
    ctypedef struct EVP_CIPHER:
        pass
    EVP_CIPHER* EVP_CIPHER_fetch(void*, const char*, const char*)
    EVP_CIPHER_CTX* EVP_CIPHER_CTX_new()
    void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX*)
    int EVP_CIPHER_CTX_get_params(EVP_CIPHER_CTX*, OSSL_PARAM*)
    int EVP_CipherInit_ex2(EVP_CIPHER_CTX*, const EVP_CIPHER*, const unsigned char*, const unsigned char*, int, const OSSL_PARAM*)
    int EVP_EncryptInit_ex2(EVP_CIPHER_CTX*, const EVP_CIPHER*, const unsigned char*, const unsigned char*, const OSSL_PARAM*)
    int EVP_EncryptUpdate(EVP_CIPHER_CTX*, unsigned char*, int*, const unsigned char*, int)
    int EVP_EncryptFinal_ex(EVP_CIPHER_CTX*, unsigned char*, int*)
    int EVP_DecryptInit_ex2(EVP_CIPHER_CTX*, const EVP_CIPHER*, const unsigned char*, const unsigned char*, const OSSL_PARAM*)
    int EVP_DecryptUpdate(EVP_CIPHER_CTX*, unsigned char*, int*, const unsigned char*, int)
    int EVP_DecryptFinal_ex(EVP_CIPHER_CTX*, unsigned char*, int*)
