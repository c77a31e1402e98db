# The part of libxml2's interface that the targets use: its push parser with handlers of their own.

cdef extern from "libxml/xmlerror.h":
    enum:
        XML_ERR_ERROR
    ctypedef struct xmlError:
        int code
        int level

cdef extern from "libxml/parser.h":
    ctypedef unsigned char xmlChar
    ctypedef struct xmlParserCtxt:
        pass
    ctypedef void (*startElementNsSAX2Func)(
        void* user, const xmlChar* name, const xmlChar* prefix, const xmlChar* uri, int namespaces_count,
        const xmlChar** namespaces, int attributes_count, int defaulted_count, const xmlChar** attributes,
    ) noexcept
    ctypedef void (*endElementNsSAX2Func)(
        void* user, const xmlChar* name, const xmlChar* prefix, const xmlChar* uri,
    ) noexcept
    ctypedef void (*xmlStructuredErrorFunc)(void* user, xmlError* error) noexcept
    ctypedef struct xmlSAXHandler:
        unsigned int initialized
        startElementNsSAX2Func startElementNs
        endElementNsSAX2Func endElementNs
        xmlStructuredErrorFunc serror
    enum:
        XML_SAX2_MAGIC
        XML_PARSE_NONET
    xmlParserCtxt* xmlCreatePushParserCtxt(
        xmlSAXHandler* handlers, void* user, const char* chunk, int size, const char* filename,
    )
    int xmlCtxtUseOptions(xmlParserCtxt* context, int options)
    int xmlParseChunk(xmlParserCtxt* context, const char* chunk, int size, int terminate)
    void xmlFreeParserCtxt(xmlParserCtxt* context)
