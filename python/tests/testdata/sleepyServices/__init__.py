# Import Grist service API functions from gridsession.py
from gridsession import *
#
# Function to implement the sleepyAdd service.  This is called by Nesssi
# using the 3 arguments given.
#
def sleepy_add(req, method_name, args):
    #
    # Parse user supplied arguments
    #
    tme = args[0]    # sleep time in seconds
    n1 = args[1]             # first number
    n2 = args[2]             # second number
    #
    # Graduated security implementation
    #
    pbs_tme = tme/60 + 1
    call_args = [pbs_tme]
    #
    # Specify the command to be executed.  This is a complicated      way to
    # sleep and add two numbers on a single line.
    #
    cmd = "date; sleep %s;  date; echo \"%s      %s\" | awk \'{print \"sleepyadd \", $1, \" + \",      $2, \" = \", $1+$2}\'" % (tme, n1, n2)
    #
    # Ask Nesssi to submit the job to the PBS batch queue.
    #
    retval = run_job(req, method_name, call_args, cmd)
    return retval
#
# Method dictionary mapping function names to exposed client
# service names.
methods_list={'sleepyAdd' : sleepy_add}
