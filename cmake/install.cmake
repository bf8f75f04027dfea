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
