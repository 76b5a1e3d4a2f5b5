Map call(Map args = [:]) {
    return bgciRun('canary', args)
}
