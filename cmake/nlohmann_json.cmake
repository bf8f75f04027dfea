# Finds the nlohmann/json headers and sets STOOP_JSON_OPTIONS, the compile options of the one file that uses them.
# Order: a CMake package, the PyPI package `nlohmann_json` (which ships the headers), a download.
find_package(nlohmann_json 3.10 CONFIG QUIET)
if(nlohmann_json_FOUND)
  get_target_property(STOOP_JSON_INCLUDE_DIR nlohmann_json::nlohmann_json INTERFACE_INCLUDE_DIRECTORIES)
endif()

if(NOT STOOP_JSON_INCLUDE_DIR)
  find_package(Python 3.10 COMPONENTS Interpreter QUIET)
  if(Python_Interpreter_FOUND)
    # find_spec does not import the package, so none of its own dependencies is needed.
    execute_process(
      COMMAND ${Python_EXECUTABLE} -c
        "import importlib.util as u; s = u.find_spec('nlohmann_json'); print(s.submodule_search_locations[0] + '/include' if s else '')"
      OUTPUT_VARIABLE stoop_json_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
    )
    if(EXISTS "${stoop_json_dir}/nlohmann/json.hpp")
      set(STOOP_JSON_INCLUDE_DIR "${stoop_json_dir}")
    endif()
  endif()
endif()

if(NOT STOOP_JSON_INCLUDE_DIR)
  message(STATUS "nlohmann/json: not installed, downloading")
  include(FetchContent)
  FetchContent_Declare(nlohmann_json
    URL https://github.com/nlohmann/json/releases/download/v3.12.0/json.tar.xz
    URL_HASH SHA256=42f6e95cad6ec532fd372391373363b62a14af6d771056dbfc86160e6dfff7aa
    DOWNLOAD_EXTRACT_TIMESTAMP OFF
    SOURCE_SUBDIR no_build  # the headers are all we want
  )
  FetchContent_MakeAvailable(nlohmann_json)
  set(STOOP_JSON_INCLUDE_DIR "${nlohmann_json_SOURCE_DIR}/include")
endif()
message(STATUS "nlohmann/json: ${STOOP_JSON_INCLUDE_DIR}")

# -isystem on a folder that is searched anyway would break #include_next of the standard headers.
if(STOOP_JSON_INCLUDE_DIR IN_LIST CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES)
  set(STOOP_JSON_OPTIONS "")
else()
  set(STOOP_JSON_OPTIONS -isystem "${STOOP_JSON_INCLUDE_DIR}")
endif()
