# One object library per instruction set, so that only the kernel text itself is compiled with its flags and the
# object is easy to find for the check that it holds no weak symbols (tests/tools/check_isa_objects.py).
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND CMAKE_SIZEOF_VOID_P EQUAL 8)
  set(STOOP_PROCESSOR "x86-64")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(STOOP_PROCESSOR "aarch64")
else()
  set(STOOP_PROCESSOR "other")
endif()

set(STOOP_INSTRUCTION_SETS "")

# stoop_add_instruction_set(<name> <source> [flags...])
# No exceptions and no RTTI: kernels are noexcept, and the personality routine would be a weak symbol.
# -Wno-psabi: vectors wider than the baseline are passed only between inlined functions.
function(stoop_add_instruction_set name source)
  if(NOT name STREQUAL "scalar" AND NOT name IN_LIST STOOP_VECTOR_KERNELS)
    return()
  endif()
  set(target stoop_isa_${name})
  add_library(${target} OBJECT ${source})
  target_include_directories(${target} PRIVATE
    ${PROJECT_SOURCE_DIR}/cpp/include ${PROJECT_SOURCE_DIR}/cpp/src)
  stoop_set_flags(${target})
  target_compile_options(${target} PRIVATE -fno-exceptions -fno-rtti -fno-threadsafe-statics -Wno-psabi ${ARGN})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC limits by how much inlining may make a file grow. At that limit each new kernel would take its inlining from
    # another one, with its speed and, where a*b + c is contracted, its bits.
    target_compile_options(${target} PRIVATE --param=inline-unit-growth=1000)
  endif()
  set_target_properties(${target} PROPERTIES
    POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  foreach(library IN LISTS STOOP_LIBRARIES)
    target_sources(${library} PRIVATE $<TARGET_OBJECTS:${target}>)
  endforeach()
  if(NOT name STREQUAL "scalar")
    string(TOUPPER ${name} upper)
    set_property(SOURCE cpp/src/cpu/select.cpp APPEND PROPERTY COMPILE_DEFINITIONS STOOP_HAVE_${upper}=1)
  endif()
  set(STOOP_INSTRUCTION_SETS ${STOOP_INSTRUCTION_SETS} ${name} PARENT_SCOPE)
endfunction()
