#include "supervisor/ctl/exit_status.h"

namespace cosigner::ctl {

std::string_view exit_status_help() {
  return "Exit status:\n"
         "   0  success\n"
         "   1  the cluster or the node answered with an error; its name is printed\n"
         "   2  wrong command line\n"
         "  66  an input file cannot be read\n"
         "  69  no node answers on the control socket\n"
         "  73  an output file cannot be written\n"
         "  75  no decisive answer before the deadline; asking again may help\n"
         "  78  a configuration or key file is missing or wrong\n";
}

}  // namespace cosigner::ctl
