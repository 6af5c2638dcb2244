/* Stands in for TensorRT's libraries so that its Python bindings can be imported and read. It builds nothing. */
#define STUB(name) void *name(void) { return 0; }

STUB(createInferBuilder_INTERNAL)
STUB(createInferRuntime_INTERNAL)
STUB(createInferRefitter_INTERNAL)
STUB(createNvOnnxParser_INTERNAL)
STUB(createNvOnnxParserRefitter_INTERNAL)
STUB(getNvOnnxParserVersion)
STUB(initLibNvInferPlugins)
STUB(getPluginRegistry)
STUB(getBuilderPluginRegistry)
