# The part of libexpat's interface that the targets use.
from libc.stdint cimport uint8_t

cdef extern from "expat.h":
    ctypedef struct XML_ParserStruct:
        pass
    ctypedef XML_ParserStruct* XML_Parser
    ctypedef char XML_Char
    ctypedef long XML_Index
    ctypedef void (*XML_StartElementHandler)(void* user, const XML_Char* name, const XML_Char** attributes) noexcept
    ctypedef void (*XML_EndElementHandler)(void* user, const XML_Char* name) noexcept
    enum XML_Status:
        XML_STATUS_ERROR
        XML_STATUS_OK
    XML_Parser XML_ParserCreateNS(const XML_Char* encoding, XML_Char separator)
    unsigned char XML_ParserReset(XML_Parser parser, const XML_Char* encoding)
    void XML_SetUserData(XML_Parser parser, void* user)
    void XML_SetElementHandler(XML_Parser parser, XML_StartElementHandler start, XML_EndElementHandler end)
    XML_Status XML_Parse(XML_Parser parser, const char* data, int length, int is_final)
    int XML_GetErrorCode(XML_Parser parser)
    XML_Index XML_GetCurrentByteIndex(XML_Parser parser)
    int XML_GetCurrentByteCount(XML_Parser parser)
    ctypedef void (*XML_StartNamespaceDeclHandler)(void* user, const XML_Char* prefix, const XML_Char* uri) noexcept
    ctypedef void (*XML_EndNamespaceDeclHandler)(void* user, const XML_Char* prefix) noexcept
    void XML_SetNamespaceDeclHandler(
        XML_Parser parser, XML_StartNamespaceDeclHandler start, XML_EndNamespaceDeclHandler end,
    )
