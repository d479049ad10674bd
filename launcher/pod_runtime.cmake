# cmake -D PROGRAM=... -D POD_PROGRAM=... -D START=... -D LOADER=... -D STRIP=... -D DESTINATION=... -P pod_runtime.cmake
# What a launcher needs to run in an image of any kind: the program that was linked for it, what starts it, each shared library that it
# loads, as it is on this machine, and their loader. PROGRAM is the same program linked for this machine, whose libraries can be found.
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${PROGRAM} RESOLVED_DEPENDENCIES_VAR libraries UNRESOLVED_DEPENDENCIES_VAR missing
     CONFLICTING_DEPENDENCIES_PREFIX conflicts)
if(missing)
  message(FATAL_ERROR "These libraries of ${PROGRAM} are not to be found: ${missing}")
endif()
list(APPEND libraries ${conflicts_FILENAMES} ${LOADER})
file(REMOVE_RECURSE ${DESTINATION})
file(MAKE_DIRECTORY ${DESTINATION}/bin ${DESTINATION}/lib)
foreach(library ${libraries})
  get_filename_component(name ${library} NAME)
  file(REAL_PATH ${library} real)
  file(COPY_FILE ${real} ${DESTINATION}/lib/${name})
endforeach()
file(COPY_FILE ${POD_PROGRAM} ${DESTINATION}/lib/elara-launcher)
file(COPY_FILE ${START} ${DESTINATION}/bin/elara-launcher)
if(STRIP)
  execute_process(COMMAND ${STRIP} ${DESTINATION}/lib/elara-launcher ${DESTINATION}/bin/elara-launcher COMMAND_ERROR_IS_FATAL ANY)
endif()
