# The install tree for find_package(stoop CONFIG): component `development`. A wheel takes the component `python` alone.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(stoop_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/stoop)

install(TARGETS stoop EXPORT stoop-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT development
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
)
install(DIRECTORY cpp/include/stoop DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT development)
install(FILES third_party/nlohmann_json/LICENSE.MIT RENAME LICENSE.nlohmann_json
  DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT development)
install(EXPORT stoop-targets NAMESPACE stoop:: DESTINATION ${stoop_package_dir} COMPONENT development)

configure_package_config_file(cmake/stoop-config.cmake.in ${PROJECT_BINARY_DIR}/stoop-config.cmake
  INSTALL_DESTINATION ${stoop_package_dir})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/stoop-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/stoop-config.cmake ${PROJECT_BINARY_DIR}/stoop-config-version.cmake
  DESTINATION ${stoop_package_dir} COMPONENT development)

# For programs that do not use CMake.
set(stoop_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH stoop_prefix_from_pc /${stoop_pc_dir} /)
string(REGEX REPLACE "/$" "" stoop_prefix_from_pc ${stoop_prefix_from_pc})
get_target_property(stoop_type stoop TYPE)
if(stoop_type STREQUAL "STATIC_LIBRARY")
  set(stoop_pc_definitions " -DSTOOP_STATIC")
endif()
set(stoop_cxx_runtime stdc++)
if("c++" IN_LIST CMAKE_CXX_IMPLICIT_LINK_LIBRARIES)
  set(stoop_cxx_runtime c++)
endif()
if(CMAKE_DL_LIBS)
  set(stoop_pc_dl " -l${CMAKE_DL_LIBS}")
endif()
if(stoop_type STREQUAL "STATIC_LIBRARY")
  string(REPLACE "LINKER:" " -Wl," stoop_pc_drop_unused "${STOOP_DROP_UNUSED}")
endif()
configure_file(cmake/stoop.pc.in ${PROJECT_BINARY_DIR}/stoop.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/stoop.pc DESTINATION ${stoop_pc_dir} COMPONENT development)
