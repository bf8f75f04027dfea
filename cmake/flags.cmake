# Compiler flags of every target of this project.
# Never -ffast-math: it removes NaN checks, and a shared library linked with it switches the host process to
# flush-to-zero. Never -march=native: instruction sets are chosen at run time, per file.
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  message(FATAL_ERROR "stoop is written with compiler vector extensions; it needs GCC 11 or Clang 14 (or later), "
    "not ${CMAKE_CXX_COMPILER_ID}. Set CXX or CMAKE_CXX_COMPILER.")
endif()

set(STOOP_MATH_FLAGS -fno-math-errno -fno-trapping-math -ffp-contract=fast)
if(STOOP_SANITIZE)
  # Compilers fuse a product and a sum only inside one basic block, and instrumentation splits those: some sums would be
  # fused and some not, and the bits of a kernel would depend on the path taken.
  list(TRANSFORM STOOP_MATH_FLAGS REPLACE "=fast$" "=off")
endif()
set(STOOP_WARNING_FLAGS -Wall -Wextra -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports `"literal" + std::string` inside its own header (GCC bug 105651).
  list(APPEND STOOP_WARNING_FLAGS -Wno-restrict)
  if(STOOP_UNITY_BUILD)
    # It takes the unnamed namespace of a source that another file includes for one in a header.
    list(APPEND STOOP_WARNING_FLAGS -Wno-subobject-linkage)
  endif()
endif()

# Each function and table has a section of its own, so that a program gets only what it calls: one that never names
# Model<double> gets no kernel for float64.
set(STOOP_SECTION_FLAGS -ffunction-sections -fdata-sections)
if(APPLE)
  set(STOOP_DROP_UNUSED LINKER:-dead_strip)
elseif(UNIX OR MINGW)
  set(STOOP_DROP_UNUSED LINKER:--gc-sections)
endif()

if(WIN32)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    message(FATAL_ERROR "GCC for Windows does not align the stack for AVX (GCC bug 54412); stoop needs Clang there. "
      "Set CXX or CMAKE_CXX_COMPILER.")
  endif()
  # What windows.h shall leave alone: the names min and max, and what few programs need.
  set(STOOP_SYSTEM_DEFINITIONS NOMINMAX WIN32_LEAN_AND_MEAN)
endif()

# A parent project without a build type has no flags for speed, and keeps none. Our own files are optimised all the same.
if(NOT stoop_multi_config AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CXX_FLAGS MATCHES "-O")
  list(PREPEND STOOP_MATH_FLAGS -O3)
endif()

# UNITY_BUILD: a parent project does not decide which of our files are compiled as one.
function(stoop_set_flags target)
  set_target_properties(${target} PROPERTIES
    CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF
    UNITY_BUILD OFF)
  target_compile_definitions(${target} PRIVATE ${STOOP_SYSTEM_DEFINITIONS})
  target_compile_options(${target} PRIVATE
    ${STOOP_MATH_FLAGS}
    ${STOOP_SECTION_FLAGS}
    ${STOOP_WARNING_FLAGS}
    $<$<BOOL:${STOOP_WARNINGS_AS_ERRORS}>:-Werror>
  )
  if(STOOP_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${STOOP_SANITIZE} -fno-omit-frame-pointer)
    if(STOOP_SANITIZE MATCHES "undefined")
      target_compile_options(${target} PRIVATE -fno-sanitize-recover=undefined)
    endif()
    # PUBLIC for the library: whatever links it needs the sanitizer's runtime.
    target_link_options(${target} PUBLIC -fsanitize=${STOOP_SANITIZE})
  endif()
endfunction()

# One line for humans: the flags that decide the speed and the meaning of the arithmetic.
function(stoop_describe_flags result)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  set(flags ${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${type}} ${STOOP_MATH_FLAGS})
  if(STOOP_SANITIZE)
    list(APPEND flags -fsanitize=${STOOP_SANITIZE})
  endif()
  list(JOIN flags " " text)
  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  string(STRIP "${text}" text)
  set(${result} "${text}" PARENT_SCOPE)
endfunction()
