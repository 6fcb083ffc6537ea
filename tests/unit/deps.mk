# What each unit test links: its module and what that may know, nothing else.
# gen/X is generated code; LIBS_X are system libraries.
DEPS_test_frame = common/frame
